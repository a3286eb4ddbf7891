/* SPDX-License-Identifier: GPL-2.0-or-later
 * framed - a routine as a compiler makes it: a frame, callee-saved registers in it, a routine of its own
 *
 * in:       none; reads MPIDR_EL1
 * out:      x0 = logical CPU number, or -1 when no entry matches
 * clobbers: x1-x3, x9, NZCV
 * memory:   reads __cpu_logical_map, u64[NR_CPUS] of hwid, unused INVALID_HWID; writes its stack
 * state:    EL1, MMU on, 48 bytes of stack
 * exits:    ret, after at most 11*NR_CPUS + 17 instructions
 * model:    the logical id of hwid(MPIDR_EL1)
 * source:   original
 */
#include "macros.inc"

framed:
        stp     x29, x30, [sp, #-48]!
        mov     x29, sp
        stp     x19, x20, [sp, #16]
        str     x21, [sp, #32]
        mrs     x19, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x19, x19, x1                            // x19 = hwid of this PE
        adr_l   x20, __cpu_logical_map
        mov     x21, #0
scan:
        add     x0, x20, x21, lsl #3
        mov     x1, x19
        bl      is_this
        cbnz    x0, hit
        add     x21, x21, #1
        cmp     x21, #NR_CPUS
        b.ne    scan
        mov     x21, #-1
hit:
        mov     x0, x21
        ldr     x21, [sp, #32]
        ldp     x19, x20, [sp, #16]
        ldp     x29, x30, [sp], #48
        ret
        .size   framed, . - framed

is_this:
        ldr     x9, [x0]
        cmp     x9, x1
        cset    x0, eq
        ret

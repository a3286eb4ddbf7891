/* SPDX-License-Identifier: GPL-2.0-or-later
 * stack_too_deep - a lookup with one planted bug
 *
 * in:       none; reads MPIDR_EL1
 * out:      x0 = logical CPU number, or -1 when no entry matches
 * clobbers: x1-x7, NZCV
 * memory:   reads __cpu_logical_map, u64[NR_CPUS] of hwid, unused INVALID_HWID; writes its stack
 * state:    EL1, MMU on, 16 bytes of stack
 * exits:    ret, after at most 12*NR_CPUS + 40 instructions
 * model:    the logical id of hwid(MPIDR_EL1)
 * source:   original
 */
// Planted: has 16 bytes of stack, and takes 32
// Smallest: any question
#include "macros.inc"

stack_too_deep:
        stp     x20, x21, [sp, #-32]!
        mrs     x1, mpidr_el1
        mov_q   x2, MPIDR_HWID_BITMASK
        and     x1, x1, x2                              // x1 = hwid of this PE
        adr_l   x2, __cpu_logical_map
        mov     x20, #0
scan:
        ldr     x3, [x2, x20, lsl #3]
        cmp     x3, x1
        b.eq    done
        add     x20, x20, #1
        cmp     x20, #NR_CPUS
        b.ne    scan
        mov     x20, #-1
done:
        mov     x0, x20
        ldp     x20, x21, [sp], #32
        ret

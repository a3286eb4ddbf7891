/* SPDX-License-Identifier: GPL-2.0-or-later
 * signed_end - a lookup with one planted bug
 *
 * in:       none; reads MPIDR_EL1
 * out:      x19 = logical CPU number, 0..NR_CPUS-1
 * clobbers: x0-x7, NZCV
 * memory:   reads __cpu_logical_map, u64[NR_CPUS] of hwid, unused INVALID_HWID; writes none
 * state:    EL1, MMU off, no stack
 * exits:    reaches found, within 12*NR_CPUS + 40 instructions; else at missing
 * model:    the logical id of hwid(MPIDR_EL1)
 * source:   original
 */
// Planted: the index counts up from minus NR_CPUS, and its end is looked for with an unsigned compare
// Smallest: only the first entry is looked at: CPU 1 of two is missed
#include "macros.inc"

signed_end:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, __cpu_logical_map
        add     x1, x1, #(8 * NR_CPUS & 0xfff)
        add     x1, x1, #(8 * NR_CPUS >> 12), lsl #12
        mov     x2, #-NR_CPUS
scan:
        ldr     x3, [x1, x2, lsl #3]
        cmp     x3, x0
        b.eq    hit
        add     x2, x2, #1
        cmp     x2, #0
        b.lo    scan
        b       missing
hit:
        mov     x19, #NR_CPUS
        add     x19, x19, x2
        b       found
missing:
        b       missing
found:
        nop

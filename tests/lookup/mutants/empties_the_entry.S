/* SPDX-License-Identifier: GPL-2.0-or-later
 * empties_the_entry - a lookup with one planted bug
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
// Planted: takes its entry out of the table, so that nobody else finds it
// Smallest: a CPU has to be found
#include "macros.inc"

empties_the_entry:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, __cpu_logical_map
        mov     x19, #0
scan:
        ldr     x3, [x1, x19, lsl #3]
        cmp     x3, x0
        b.eq    hit
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    scan
        b       missing
hit:
        mov     x3, #-1
        str     x3, [x1, x19, lsl #3]
        b       found
missing:
        b       missing
found:
        nop

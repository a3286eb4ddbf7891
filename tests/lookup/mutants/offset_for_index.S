/* SPDX-License-Identifier: GPL-2.0-or-later */
// Planted: the offset in the table is left for the index
// Smallest: CPU 0 has offset 0; CPU 1 is called 8
#include "macros.inc"

find:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, __cpu_logical_map
        mov     x19, #0
scan:
        ldr     x3, [x1, x19]
        cmp     x3, x0
        b.eq    found
        add     x19, x19, #8
        cmp     x19, #(8 * NR_CPUS)
        b.lo    scan
missing:
        b       missing
found:
        nop

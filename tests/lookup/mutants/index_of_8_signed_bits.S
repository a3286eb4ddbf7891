/* SPDX-License-Identifier: GPL-2.0-or-later */
// Planted: an index that is taken for 8 bits signed
// Smallest: entry 128 of 129 is looked for before the table; the map may be empty
#include "macros.inc"

find:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, __cpu_logical_map
        mov     x19, #0
scan:
        add     x2, x1, w19, sxtb #3
        ldr     x3, [x2]
        cmp     x3, x0
        b.eq    found
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    scan
missing:
        b       missing
found:
        nop

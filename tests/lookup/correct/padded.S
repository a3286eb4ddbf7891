/* SPDX-License-Identifier: GPL-2.0-or-later */
// A table with eight entries more than CPUs, so that a step of four never ends behind it; for 4096 CPUs their
// number, 4104, is no immediate of CMP.
#include "macros.inc"

find:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, __cpu_logical_map
        mov_q   x2, NR_CPUS + 8
        mov     x19, #0
four:
        ldp     x3, x4, [x1], #16
        ldp     x5, x6, [x1], #16
        cmp     x3, x0
        b.eq    found
        add     x19, x19, #1
        cmp     x4, x0
        b.eq    found
        add     x19, x19, #1
        cmp     x5, x0
        b.eq    found
        add     x19, x19, #1
        cmp     x6, x0
        b.eq    found
        add     x19, x19, #1
        sub     x7, x2, x19
        cmp     x7, #4
        b.hs    four
missing:
        b       missing
found:
        nop

/* SPDX-License-Identifier: GPL-2.0-or-later */
// Planted: unrolled by 4, and of what is left over two entries at most are looked at
// Smallest: CPU 2 of three
#include "macros.inc"

find:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, __cpu_logical_map
        mov     x19, #0
        mov     x2, #(NR_CPUS >> 2)
        cbz     x2, rest
four:
        ldp     x3, x4, [x1], #16
        ldp     x5, x6, [x1], #16
        cmp     x3, x0
        b.eq    found
        cmp     x4, x0
        b.eq    second
        cmp     x5, x0
        b.eq    third
        cmp     x6, x0
        b.eq    fourth
        add     x19, x19, #4
        subs    x2, x2, #1
        b.ne    four
rest:
        cmp     x19, #((NR_CPUS & -4) + (NR_CPUS & 3) - (NR_CPUS & (NR_CPUS >> 1) & 1))
        b.hs    missing
        ldr     x3, [x1], #8
        cmp     x3, x0
        b.eq    found
        add     x19, x19, #1
        b       rest
fourth:
        add     x19, x19, #1
third:
        add     x19, x19, #1
second:
        add     x19, x19, #1
        b       found
missing:
        b       missing
found:
        nop

/* SPDX-License-Identifier: GPL-2.0-or-later */
// Planted: unrolled by 4, the third lane says 3 instead of 2
// Smallest: four CPUs are the first that go through the lanes; CPU 2 alone
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
        cmp     x19, #NR_CPUS
        b.hs    missing
        ldr     x3, [x1], #8
        cmp     x3, x0
        b.eq    found
        add     x19, x19, #1
        b       rest
fourth:
        nop
third:
        add     x19, x19, #2
second:
        add     x19, x19, #1
        b       found
missing:
        b       missing
found:
        nop

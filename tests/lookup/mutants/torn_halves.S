/* SPDX-License-Identifier: GPL-2.0-or-later */
// Planted: the halves of an entry are loaded one after the other, so that they may be of two CPUs
// Smallest: only a table that changes shows it: one entry gets another hwid between its halves
#include "macros.inc"

find:
        mrs     x0, mpidr_el1
        and     w2, w0, #0xffffff
        ubfx    x0, x0, #32, #8
        adr_l   x1, __cpu_logical_map
        mov     x19, #0
scan:
        add     x4, x1, x19, lsl #3
        ldr     w3, [x4, #4]
        cmp     w3, w0
        b.ne    next
        ldr     w3, [x4]
        cmp     w3, w2
        b.eq    found
next:
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    scan
missing:
        b       missing
found:
        nop

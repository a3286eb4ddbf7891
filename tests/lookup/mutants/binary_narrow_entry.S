/* SPDX-License-Identifier: GPL-2.0-or-later */
// Planted: binary search that loads 16 bits of a logical number of 32, as if the table began with its upper
// half
// Smallest: a CPU that is found has 0; CPU 1 alone
#include "macros.inc"

find:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, sorted_hwids
        adr_l   x2, sorted_cpus
        mov     x3, #0                                  // x3 = first that may match
        mov     x4, #NR_CPUS                            // x4 = first behind those
halve:
        cmp     x3, x4
        b.hs    missing
        add     x5, x3, x4
        lsr     x5, x5, #1                              // x5 = the middle
        ldr     x6, [x1, x5, lsl #3]
        cmp     x6, x0
        b.eq    hit
        b.hi    below
        add     x3, x5, #1
        b       halve
below:
        mov     x4, x5
        b       halve
hit:
        add     x6, x2, x5, lsl #2
        ldrh    w19, [x6, #2]
        b       found
missing:
        b       missing
found:
        nop

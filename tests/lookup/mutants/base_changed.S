/* SPDX-License-Identifier: GPL-2.0-or-later */
// Planted: walks the table with the caller's pointer, which the contract keeps
// Smallest: any question
#include "macros.inc"

find:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1
        mov     x19, #0
scan:
        ldr     x3, [x20], #8
        cmp     x3, x0
        b.eq    found
        add     x19, x19, #1
        cmp     x19, x21
        b.lo    scan
missing:
        b       missing
found:
        nop

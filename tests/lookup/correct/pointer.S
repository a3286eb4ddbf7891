/* SPDX-License-Identifier: GPL-2.0-or-later */
// Walks a pointer to the end of the table; the index is worked out at the end. Everything comes in registers.
#include "macros.inc"

find:
        mov_q   x4, MPIDR_HWID_BITMASK
        and     x4, x0, x4                              // x4 = hwid of this PE
        add     x5, x1, x2, lsl #3                      // x5 = end of the table
        mov     x6, x1
scan:
        ldr     x7, [x6], #8
        cmp     x7, x4
        b.eq    hit
        cmp     x6, x5
        b.lo    scan
        mov     x0, #-1
        ret
hit:
        sub     x6, x6, x1
        lsr     x0, x6, #3
        sub     x0, x0, #1
        ret

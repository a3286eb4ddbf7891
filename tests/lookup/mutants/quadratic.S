/* SPDX-License-Identifier: GPL-2.0-or-later */
// Planted: looks at every entry before it for a duplicate, and promises a linear scan
// Smallest: 7 instructions, 8 an entry and 4 a pair of entries, 7 + 8*n + 2*n*(n-1), are over 12*n + 40 from n
// = 6 on
#include "macros.inc"

find:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, __cpu_logical_map
        mov     x19, #0
scan:
        ldr     x3, [x1, x19, lsl #3]
        mov     x4, x19
earlier:
        cbz     x4, unique
        sub     x4, x4, #1
        ldr     x5, [x1, x4, lsl #3]
        b       earlier
unique:
        cmp     x3, x0
        b.eq    found
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    scan
missing:
        b       missing
found:
        nop

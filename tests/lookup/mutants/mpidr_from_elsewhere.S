/* SPDX-License-Identifier: GPL-2.0-or-later */
// Planted: reads MPIDR_EL1, though the MPIDR that it is asked for comes in x0
// Smallest: one CPU, when another one asks for it
#include "macros.inc"

find:
        mrs     x1, mpidr_el1
        mov_q   x2, MPIDR_HWID_BITMASK
        and     x1, x1, x2
        adr_l   x2, __cpu_logical_map
        mov     x19, #0
scan:
        ldr     x3, [x2, x19, lsl #3]
        cmp     x3, x1
        b.eq    found
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    scan
missing:
        b       missing
found:
        nop

/* SPDX-License-Identifier: GPL-2.0-or-later */
// Most machines number CPU i with Aff0 = i: look there first, and scan only when that was a wrong guess.
#include "macros.inc"

find:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, __cpu_logical_map
        and     x19, x0, #0xff
        cmp     x19, #NR_CPUS
        b.hs    slow
        ldr     x3, [x1, x19, lsl #3]
        cmp     x3, x0
        b.eq    found
slow:
        mov     x19, #0
scan:
        ldr     x3, [x1, x19, lsl #3]
        cmp     x3, x0
        b.eq    found
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    scan
missing:
        wfe
        b       missing
found:
        nop

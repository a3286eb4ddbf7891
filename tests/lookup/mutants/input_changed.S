/* SPDX-License-Identifier: GPL-2.0-or-later */
// Planted: masks the MPIDR in its own register, which the contract keeps
// Smallest: any question with a flag in MPIDR_EL1
#include "macros.inc"

find:
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x20, x20, x1
        adr_l   x1, __cpu_logical_map
        mov     x19, #0
scan:
        ldr     x3, [x1, x19, lsl #3]
        cmp     x3, x20
        b.eq    found
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    scan
missing:
        b       missing
found:
        nop

/* SPDX-License-Identifier: GPL-2.0-or-later */
// Planted: hash that takes an empty bucket, all ones in 32 bits, for a CPU
// Smallest: the one bucket of no CPU at all: its entry would be 32 GiB behind the table
#include "macros.inc"

find:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, mpidr_hash
        ldr     x2, [x1]
        and     x2, x0, x2                              // x2 = the bits in which CPUs differ
        ldp     w3, w4, [x1, #8]                        // shift_aff[0], [1]
        ldp     w5, w6, [x1, #16]                       // shift_aff[2], [3]
        and     x7, x2, #0xff
        lsr     x3, x7, x3
        and     x7, x2, #0xff00
        lsr     x4, x7, x4
        and     x7, x2, #0xff0000
        lsr     x5, x7, x5
        and     x7, x2, #0xff00000000
        lsr     x6, x7, x6
        orr     x3, x3, x4
        orr     x5, x5, x6
        orr     x3, x3, x5                              // x3 = bucket
        adr_l   x1, hash_to_cpu
        ldr     w19, [x1, x3, lsl #2]
        cmn     x19, #1
        b.eq    missing
        adr_l   x1, __cpu_logical_map
        ldr     x4, [x1, x19, lsl #3]
        cmp     x4, x0
        b.ne    missing                                 // that CPU is another one
        b       found
missing:
        b       missing
found:
        nop

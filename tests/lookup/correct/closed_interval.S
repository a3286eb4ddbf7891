/* SPDX-License-Identifier: GPL-2.0-or-later
 * closed_interval - binary search in [x4, x5], signed, so that the upper end may fall below 0
 *
 * in:       x0 = MPIDR_EL1; x1 = PA of sorted_hwids, u64[x3] of sorted-hwid; x2 = PA of sorted_cpus,
 *           u16[NR_CPUS] of sorted-cpu; x3 = entries, 1..4096
 * out:      x0 = logical CPU number, or -1 when no entry matches
 * clobbers: x4-x7, NZCV
 * memory:   reads [x1, x1 + 8*x3); writes none
 * state:    EL1 or EL2, MMU off, no stack
 * exits:    ret, after at most 10*log2(NR_CPUS) + 24 instructions
 * model:    permutation
 * source:   original
 */
#include "macros.inc"

closed_interval:
        mov_q   x4, MPIDR_HWID_BITMASK
        and     x0, x0, x4                              // x0 = hwid of this PE
        mov     x4, #0                                  // x4 = first that may match
        sub     x5, x3, #1                              // x5 = last that may match
halve:
        cmp     x4, x5
        b.gt    none
        add     x6, x4, x5
        lsr     x6, x6, #1                              // x6 = the middle
        ldr     x7, [x1, x6, lsl #3]
        cmp     x7, x0
        b.eq    hit
        b.hi    below
        add     x4, x6, #1
        b       halve
below:
        sub     x5, x6, #1
        b       halve
hit:
        ldrh    w0, [x2, x6, lsl #1]
        ret
none:
        mov     x0, #-1
        ret
        .size   closed_interval, . - closed_interval

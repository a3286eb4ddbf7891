/* SPDX-License-Identifier: GPL-2.0-or-later
 * branch_free - every entry is looked at, whatever the answer: the time says nothing about it
 *
 * in:       none; reads MPIDR_EL1
 * out:      x0 = logical CPU number, or -1 when no entry matches
 * clobbers: x1 (hwid), x2 (table), x3 (entry), x4 (number), NZCV
 * memory:   reads __cpu_logical_map, u64[NR_CPUS] of hwid; writes none
 * state:    EL2, MMU off, no stack
 * exits:    ret, after at most 6*NR_CPUS + 9 instructions
 * model:    logical-map
 * source:   original
 */
#include "macros.inc"

branch_free:
        mrs     x1, mpidr_el1
        mov_q   x2, MPIDR_HWID_BITMASK
        and     x1, x1, x2                              // x1 = hwid of this PE
        adr_l   x2, __cpu_logical_map
        mov     x0, #-1
        mov     x4, #NR_CPUS
every:
        sub     x4, x4, #1
        ldr     x3, [x2, x4, lsl #3]
        cmp     x3, x1
        csel    x0, x4, x0, eq
        cbnz    x4, every
        ret
        .size   branch_free, . - branch_free

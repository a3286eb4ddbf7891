/* SPDX-License-Identifier: GPL-2.0-or-later
 * csel_inverted - a lookup with one planted bug
 *
 * in:       none; reads MPIDR_EL1
 * out:      x0 = logical CPU number, or -1 when no entry matches
 * clobbers: x1-x7, NZCV
 * memory:   reads __cpu_logical_map, u64[NR_CPUS] of hwid, unused INVALID_HWID; writes none
 * state:    EL1, MMU off, no stack
 * exits:    ret, after at most 12*NR_CPUS + 40 instructions
 * model:    the logical id of hwid(MPIDR_EL1)
 * source:   original
 */
// Planted: branch-free, with the condition of CSEL the wrong way round
// Smallest: the one entry of an empty map differs, and is taken
#include "macros.inc"

csel_inverted:
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
        csel    x0, x4, x0, ne
        cbnz    x4, every
        ret

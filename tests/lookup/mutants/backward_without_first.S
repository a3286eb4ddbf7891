/* SPDX-License-Identifier: GPL-2.0-or-later
 * backward_without_first - a lookup with one planted bug
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
// Planted: backward, and ends when the index is 0 before it looks there
// Smallest: CPU 0
#include "macros.inc"

backward_without_first:
        mrs     x1, mpidr_el1
        mov_q   x2, MPIDR_HWID_BITMASK
        and     x1, x1, x2                              // x1 = hwid of this PE
        adr_l   x2, __cpu_logical_map
        mov     x0, #NR_CPUS
scan:
        subs    x0, x0, #1
        b.eq    none
        ldr     x3, [x2, x0, lsl #3]
        cmp     x3, x1
        b.ne    scan
        ret
none:
        mov     x0, #-1
        ret

/* SPDX-License-Identifier: GPL-2.0-or-later
 * callee_saved - a lookup with one planted bug
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
// Planted: holds the entry in x20, which its caller owns
// Smallest: any question
#include "macros.inc"

callee_saved:
        mrs     x1, mpidr_el1
        mov_q   x2, MPIDR_HWID_BITMASK
        and     x1, x1, x2                              // x1 = hwid of this PE
        adr_l   x2, __cpu_logical_map
        mov     x0, #NR_CPUS
scan:
        subs    x0, x0, #1
        b.lo    none
        ldr     x20, [x2, x0, lsl #3]
        cmp     x20, x1
        b.ne    scan
none:
        ret

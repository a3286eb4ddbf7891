/* SPDX-License-Identifier: GPL-2.0-or-later
 * backward - last entry to first, a routine that returns; the borrow below 0 is the -1 of "none"
 *
 * in:       none; reads MPIDR_EL1
 * out:      x0 = logical CPU number, or -1 when no entry matches
 * clobbers: x1 (hwid), x2 (table), x3 (entry), NZCV
 * memory:   reads __cpu_logical_map, u64[NR_CPUS] of hwid, unused INVALID_HWID; writes none
 * state:    EL1, MMU on or off, no stack
 * exits:    ret, after at most 5*NR_CPUS + 11 instructions
 * model:    the logical id of hwid(MPIDR_EL1)
 * source:   original
 */
#include "macros.inc"

backward:
        mrs     x1, mpidr_el1
        mov_q   x2, MPIDR_HWID_BITMASK
        and     x1, x1, x2                              // x1 = hwid of this PE
        adrp    x2, __cpu_logical_map
        add     x2, x2, :lo12:__cpu_logical_map
        mov     x0, #NR_CPUS
scan:
        subs    x0, x0, #1
        b.lo    none                                    // borrow: x0 = -1
        ldr     x3, [x2, x0, lsl #3]
        cmp     x3, x1
        b.ne    scan
none:
        ret
        .size   backward, . - backward

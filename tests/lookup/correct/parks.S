/* SPDX-License-Identifier: GPL-2.0-or-later
 * parks - skips entries of no CPU; a CPU that is not in the table sleeps for ever
 *
 * in:       none; reads MPIDR_EL1
 * out:      x19 = logical CPU number, 0..NR_CPUS-1
 * clobbers: x0 (hwid), x1 (table), x3 (entry), NZCV
 * memory:   reads __cpu_logical_map, u64[NR_CPUS] of hwid, unused INVALID_HWID; writes none
 * state:    EL1, MMU off, no stack: the table must be clean to the PoC
 * exits:    falls through at found, within 8*NR_CPUS + 8 instructions; else parks for ever
 * model:    first i with __cpu_logical_map[i] == hwid(MPIDR_EL1) and != INVALID_HWID
 * source:   original
 */
#include "macros.inc"

parks:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, __cpu_logical_map
        mov     x19, #0
scan:
        ldr     x3, [x1, x19, lsl #3]
        cmn     x3, #1
        b.eq    next
        cmp     x3, x0
        b.eq    found
next:
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    scan
        park    nobody
found:
        .size   parks, . - parks

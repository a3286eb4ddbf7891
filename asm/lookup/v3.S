/* SPDX-License-Identifier: GPL-2.0-or-later
 * find - logical CPU number of this PE, before its MMU is on
 *
 * in:       none; reads MPIDR_EL1
 * out:      x19 = logical CPU number, 0..NR_CPUS-1
 * clobbers: x0 (hwid), x1 (table), x3 (entry), x19 (index), NZCV
 * memory:   reads __cpu_logical_map, u64[NR_CPUS] of hwid, unused INVALID_HWID; writes none
 * state:    EL1, MMU off, no stack: the table must be clean to the PoC
 * exits:    falls through at found, into secondary_startup_mmu, within 8*NR_CPUS + 8 instructions; else from
 *           missing to __secondary_too_slow, without a status
 * model:    first i with __cpu_logical_map[i] == hwid(MPIDR_EL1) and != INVALID_HWID; x19 stays alive
 *           to the end of early boot, where slot_per_cpu and the early status use it
 * source:   original; follows the description of the v3 series (24 June 2026)
 */
#include "macros.inc"

find:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, __cpu_logical_map
        mov     x19, #0
scan:
        ldr     x3, [x1, x19, lsl #3]                   // x3 = hwid of logical CPU x19
        cmn     x3, #1                                  // INVALID_HWID: nobody has this number
        b.eq    next
        cmp     x3, x0
        b.eq    found
next:
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    scan
missing:
        b       __secondary_too_slow
found:
        .size   find, . - find

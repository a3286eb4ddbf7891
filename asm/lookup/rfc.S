/* SPDX-License-Identifier: GPL-2.0-or-later
 * find - logical CPU number of this PE, from a table of its own
 *
 * in:       none; reads MPIDR_EL1
 * out:      x19 = logical CPU number, 0..NR_CPUS-1
 * clobbers: x0 (hwid), x1 (table), x3 (entry), x19 (index), NZCV
 * memory:   reads __mpidr_to_cpuid_table, u64[NR_CPUS] of hwid, unused 0; writes none
 * state:    EL1, MMU on, no stack
 * exits:    falls through at found, into slot_per_cpu, within 6*NR_CPUS + 8 instructions; else branches
 *           to itself at missing for ever
 * model:    the logical id of hwid(MPIDR_EL1); it takes the first i with __mpidr_to_cpuid_table[i] == hwid,
 *           and entry 0 is never filled and stays 0, so hwid 0 finds it
 * source:   original; follows the description of the rfc series (11 June 2026)
 */
#include "macros.inc"

find:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, __mpidr_to_cpuid_table
        mov     x19, #0
scan:
        ldr     x3, [x1, x19, lsl #3]                   // x3 = hwid of logical CPU x19
        cmp     x3, x0
        b.eq    found
next:
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    scan
missing:
        b       missing
found:
        .size   find, . - find

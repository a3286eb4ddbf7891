/* SPDX-License-Identifier: GPL-2.0-or-later
 * flagless - compares without touching NZCV
 *
 * in:       none; reads MPIDR_EL1
 * out:      x19 = logical CPU number, 0..NR_CPUS-1
 * clobbers: x0 (hwid), x1 (end of the table), x2 (difference), x3 (entries left, negative)
 * memory:   reads __cpu_logical_map, u64[NR_CPUS] of hwid, unused INVALID_HWID; writes none
 * state:    EL1, MMU on, no stack
 * exits:    reaches found, within 5*NR_CPUS + 11 instructions; else at missing
 * model:    the logical id of hwid(MPIDR_EL1)
 * source:   original
 */
#include "macros.inc"

flagless:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, __cpu_logical_map
        add     x1, x1, #(8 * NR_CPUS & 0xfff)
        add     x1, x1, #(8 * NR_CPUS >> 12), lsl #12   // x1 = end of the table
        mov     x3, #-NR_CPUS
scan:
        ldr     x2, [x1, x3, lsl #3]
        eor     x2, x2, x0
        cbz     x2, hit
        add     x3, x3, #1
        cbnz    x3, scan
missing:
        b       missing
hit:
        add     x19, x3, #(NR_CPUS & 0xfff)
        add     x19, x19, #(NR_CPUS >> 12), lsl #12
found:
        nop
        .size   flagless, . - flagless

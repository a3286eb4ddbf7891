/* SPDX-License-Identifier: GPL-2.0-or-later
 * aff3_folded_twice - a lookup with one planted bug
 *
 * in:       none; reads MPIDR_EL1
 * out:      x19 = logical CPU number, 0..NR_CPUS-1
 * clobbers: x0-x7, NZCV
 * memory:   reads __cpu_logical_map, u64[NR_CPUS] of hwid, unused INVALID_HWID; writes none
 * state:    EL1, MMU off, no stack
 * exits:    reaches found, within 12*NR_CPUS + 40 instructions; else at missing
 * model:    the logical id of hwid(MPIDR_EL1)
 * source:   original
 */
// Planted: both sides are folded to 32 bits, with Aff3 on top of Aff0 instead of above Aff2
// Smallest: 1 finds the only CPU, 0x100000000; both are 1 when folded
#include "macros.inc"

aff3_folded_twice:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, __cpu_logical_map
        orr     x0, x0, x0, lsr #32
        mov     x19, #0
scan:
        ldr     x3, [x1, x19, lsl #3]
        orr     x3, x3, x3, lsr #32
        cmp     w3, w0
        b.eq    found
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    scan
missing:
        b       missing
found:
        nop

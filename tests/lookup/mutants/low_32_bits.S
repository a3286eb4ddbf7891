/* SPDX-License-Identifier: GPL-2.0-or-later
 * low_32_bits - a lookup with one planted bug
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
// Planted: 32 bits are compared
// Smallest: a CPU that differs from the only CPU in Aff3 finds that one
#include "macros.inc"

low_32_bits:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, __cpu_logical_map
        mov     x19, #0
scan:
        ldr     x3, [x1, x19, lsl #3]
        cmp     w3, w0
        b.eq    found
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    scan
missing:
        b       missing
found:
        nop

/* SPDX-License-Identifier: GPL-2.0-or-later
 * flags_of_the_counter - a lookup with one planted bug
 *
 * in:       none; reads MPIDR_EL1
 * out:      x19 = logical CPU number, 0..NR_CPUS-1
 * clobbers: x0-x7
 * memory:   reads __cpu_logical_map, u64[NR_CPUS] of hwid, unused INVALID_HWID; writes none
 * state:    EL1, MMU off, no stack
 * exits:    reaches found, within 12*NR_CPUS + 40 instructions; else at missing
 * model:    the logical id of hwid(MPIDR_EL1)
 * source:   original
 */
// Planted: compares without flags but for SUBS in its counter
// Smallest: at the end of an empty map the counter is 0 and Z set
#include "macros.inc"

flags_of_the_counter:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, __cpu_logical_map
        mov     x19, #0
        mov     x2, #NR_CPUS
scan:
        ldr     x3, [x1, x19, lsl #3]
        eor     x3, x3, x0
        cbz     x3, found
        add     x19, x19, #1
        subs    x2, x2, #1
        cbnz    x2, scan
missing:
        b       missing
found:
        nop

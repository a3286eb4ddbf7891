/* SPDX-License-Identifier: GPL-2.0-or-later
 * core_pos - firmware's position of a core as a guess, then first entry to last
 *
 * in:       none; reads MPIDR_EL1
 * out:      x19 = logical CPU number, 0..NR_CPUS-1
 * clobbers: x0-x5, NZCV
 * memory:   reads __cpu_logical_map, u64[NR_CPUS] of hwid, unused INVALID_HWID; writes none
 * state:    EL1, MMU off, no stack
 * exits:    reaches found, within 6*NR_CPUS + 32 instructions; else at missing
 * model:    the logical id of hwid(MPIDR_EL1)
 * source:   original; the formula is that of Trusted Firmware-A, plat_arm_calc_core_pos
 */
// thread + THREADS * (core + CORES * cluster); without MT, Aff0 is the core
#include "macros.inc"
        .equ    CORES, 4
        .equ    THREADS, 2

core_pos:
        mrs     x5, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x5, x1                              // x0 = hwid of this PE
        lsl     x1, x5, #8
        tst     x5, #(1 << 24)                          // MT: Aff0 is a thread, else a core
        csel    x1, x1, x5, eq
        ubfx    x2, x1, #0, #8                          // x2 = thread
        ubfx    x3, x1, #8, #8                          // x3 = core
        ubfx    x4, x1, #16, #8                         // x4 = cluster
        mov     x5, #CORES
        madd    x3, x4, x5, x3
        mov     x5, #THREADS
        madd    x19, x3, x5, x2
        adr_l   x1, __cpu_logical_map
        cmp     x19, #NR_CPUS
        b.hs    1f                                      // no entry of this CPU
        ldr     x2, [x1, x19, lsl #3]
        cmp     x2, x0
        b.eq    found
1:      mov     x19, #0
2:      ldr     x2, [x1, x19, lsl #3]
        cmp     x2, x0
        b.eq    found
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    2b
missing:
        b       missing
found:
        nop

/* SPDX-License-Identifier: GPL-2.0-or-later
 * secondary_holding_pen - spin-table: wait until the boot CPU names this CPU
 *
 * in:       none
 * out:      x0 = boot mode (0xe11 or 0xe12); x19 = 0: no context ID comes this way
 * clobbers: x1-x4, x19, x30, NZCV
 * memory:   reads secondary_holding_pen_release, u64; writes none
 * state:    EL1 or EL2, MMU off, no stack; EL1 from the first look at the release word on
 * exits:    to secondary_startup, once secondary_holding_pen_release equals this CPU's hwid: the boot CPU
 *           writes it, cleans it to the PoC and sends an event
 * model:    leaves when the release word == hwid(MPIDR_EL1), looking before the first wait
 * source:   original; compare Linux v6.12 arch/arm64/kernel/head.S, secondary_holding_pen
 */
#include "macros.inc"

secondary_holding_pen:
        mov     x19, xzr
        mov     x0, xzr                                 // entered with the MMU off
        bl      init_kernel_el
        mrs     x2, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x2, x2, x1                              // x2 = hwid of this PE
        adr_l   x3, secondary_holding_pen_release
pen:
        ldr     x4, [x3]                                // x4 = hwid that may go
        cmp     x4, x2
        b.eq    secondary_startup
        wfe
        b       pen
        .size   secondary_holding_pen, . - secondary_holding_pen

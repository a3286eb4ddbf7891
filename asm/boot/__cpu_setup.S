/* SPDX-License-Identifier: GPL-2.0-or-later
 * __cpu_setup - make the CPU ready for its MMU
 *
 * in:       none
 * out:      x0 = SCTLR_EL1 value that turns the MMU on
 * clobbers: x1, x5, x16, x17, NZCV
 * memory:   none
 * state:    EL1, MMU off, no stack
 * exits:    ret
 * model:    MAIR_EL1 = MAIR_EL1_SET; TCR_EL1 = 48-bit halves, 4K, IPS = min(ID_AA64MMFR0_EL1.PARange, 5)
 *           MODEL: the size is 48 bits even when vabits_actual is 52; no hardware Access flag, no PIE, no AMU
 * source:   original; compare Linux v6.12 arch/arm64/mm/proc.S, __cpu_setup
 */
#include "macros.inc"
#include "sysreg.inc"

__cpu_setup:
        tlbi    vmalle1                                 // this PE only
        dsb     nsh

        msr     cpacr_el1, xzr
        mov     x1, #MDSCR_TDCC
        msr     mdscr_el1, x1

        mov_q   x17, MAIR_EL1_SET
        mov_q   x16, TCR_EL1_SET
        mrs     x5, id_aa64mmfr0_el1
        and     x5, x5, #0xf                            // x5 = PARange
        mov     x1, #ID_AA64MMFR0_EL1_PARANGE_48        // more than 48 bits would need LPA2
        cmp     x5, x1
        csel    x5, x1, x5, hi
        bfi     x16, x5, #TCR_IPS_SHIFT, #3
        msr     mair_el1, x17
        msr     tcr_el1, x16

        mov_q   x0, INIT_SCTLR_EL1_MMU_ON
        ret
        .size   __cpu_setup, . - __cpu_setup

/* SPDX-License-Identifier: GPL-2.0-or-later
 * __enable_mmu - turn the MMU on, if the CPU has our granule
 *
 * in:       x0 = SCTLR_EL1 value; x1 = PA of the TTBR1 table; x2 = PA of the idmap's root table
 * out:      none
 * clobbers: x3, NZCV
 * memory:   none
 * state:    EL1, MMU off on entry and on on exit, no stack; this text must be in the idmap
 * exits:    ret; or to __no_granule_support
 * model:    TTBR1_EL1 = x1, TTBR0_EL1 = x2, SCTLR_EL1 = x0 when ID_AA64MMFR0_EL1.TGran4 (31:28) is 0..7
 * source:   original; compare Linux v6.12 arch/arm64/kernel/head.S, __enable_mmu
 */
#include "macros.inc"
#include "sysreg.inc"

__enable_mmu:
        mrs     x3, id_aa64mmfr0_el1
        ubfx    x3, x3, #ID_AA64MMFR0_EL1_TGRAN4_SHIFT, #4
        cmp     x3, #ID_AA64MMFR0_EL1_TGRAN4_SUPPORTED_MIN
        b.lt    __no_granule_support
        cmp     x3, #ID_AA64MMFR0_EL1_TGRAN4_SUPPORTED_MAX
        b.gt    __no_granule_support
        msr     ttbr0_el1, x2
        msr     ttbr1_el1, x1
        isb
mmu_on:
        msr     sctlr_el1, x0
        isb
        ic      iallu                                   // drop what was fetched by PA and is now stale
        dsb     nsh
        isb
        ret
        .size   __enable_mmu, . - __enable_mmu

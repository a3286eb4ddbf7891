/* SPDX-License-Identifier: GPL-2.0-or-later
 * init_kernel_el - from EL1 or EL2 to EL1 in a known state
 *
 * in:       x0 = 0: the MMU is off (a secondary has no other case); x30 = where to go on
 * out:      w0 = boot mode, 0xe11 or 0xe12
 * clobbers: x1, x2, NZCV
 * memory:   none
 * state:    EL1 or EL2 on entry, EL1h with D, A, I and F masked on exit; MMU off, no stack
 * exits:    eret to x30
 * model:    EL1: SCTLR_EL1 = INIT_SCTLR_EL1_MMU_OFF. EL2: that too, HCR_EL2 = RW,
 *           VBAR_EL2 = __hyp_stub_vectors, VPIDR_EL2 and VMPIDR_EL2 = the real ones, no traps
 *           MODEL: a core without VHE, SPE, GICv3 system registers or fine-grained traps; where E2H is
 *           stuck at 1, it goes on with E2H set
 * source:   original; compare Linux v6.12 arch/arm64/kernel/head.S, init_kernel_el and
 *           arch/arm64/include/asm/el2_setup.h
 */
#include "macros.inc"
#include "sysreg.inc"

init_kernel_el:
        mrs     x1, CurrentEL
        cmp     x1, #CurrentEL_EL2
        b.eq    init_el2

init_el1:
        mov_q   x0, INIT_SCTLR_EL1_MMU_OFF
        msr     sctlr_el1, x0
        isb
        mov     x0, #INIT_PSTATE_EL1
        msr     spsr_el1, x0
        msr     elr_el1, x30
        mov     w0, #BOOT_CPU_MODE_EL1
        eret

init_el2:
        msr     elr_el2, x30
        mov_q   x0, HCR_HOST_NVHE_FLAGS
        msr     hcr_el2, x0
        isb
        mov_q   x0, INIT_SCTLR_EL2_MMU_OFF
        msr     sctlr_el2, x0
        isb

        mov     x0, #CNTHCTL_EL1_PHYSICAL
        msr     cnthctl_el2, x0
        msr     cntvoff_el2, xzr

        mrs     x1, id_aa64dfr0_el1
        ubfx    x1, x1, #ID_AA64DFR0_EL1_PMUVer_SHIFT, #4
        cmp     x1, #0
        ccmp    x1, #ID_AA64DFR0_EL1_PMUVer_IMP_DEF, #4, ne
        b.eq    init_el2_no_pmu
        mrs     x0, pmcr_el0
        ubfx    x0, x0, #PMCR_EL0_N_SHIFT, #5
init_el2_no_pmu:
        csel    x0, xzr, x0, eq                         // x0 = HPMN: every counter is EL1's, or there is none
        msr     mdcr_el2, x0

        msr     vttbr_el2, xzr
        msr     hstr_el2, xzr
        mrs     x0, midr_el1
        mrs     x1, mpidr_el1
        msr     vpidr_el2, x0
        msr     vmpidr_el2, x1
        mov     x0, #CPTR_NVHE_NO_TRAPS
        msr     cptr_el2, x0

        adr_l   x0, __hyp_stub_vectors
        msr     vbar_el2, x0
        isb

        mov_q   x1, INIT_SCTLR_EL1_MMU_OFF
        msr     sctlr_el1, x1
        mov     x0, #INIT_PSTATE_EL1
        msr     spsr_el2, x0
        mov     w0, #BOOT_CPU_MODE_EL2
        eret
        .size   init_kernel_el, . - init_kernel_el

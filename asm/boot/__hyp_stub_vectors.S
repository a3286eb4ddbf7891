/* SPDX-License-Identifier: GPL-2.0-or-later
 * __hyp_stub_vectors - EL2 vectors between init_kernel_el and a hypervisor
 *
 * in:       x0 = function (HVC_*) on a synchronous entry; x1-x4 = its arguments
 * out:      x0 = 0, or HVC_STUB_ERR
 * clobbers: x0; HVC_SOFT_RESTART also x1, x2 and x4; NZCV of EL2
 * memory:   none
 * state:    EL2h, MMU off, no stack
 * exits:    eret; HVC_SOFT_RESTART branches to x1 at EL2; any other exception parks at its vector
 * model:    HVC_SET_VECTORS: VBAR_EL2 = x1. HVC_RESET_VECTORS: nothing to do. Else HVC_STUB_ERR
 *           MODEL: HVC_FINALISE_EL2 is refused as on a core without VHE, whatever ID_AA64MMFR1_EL1.VH says
 * source:   original; compare Linux v6.12 arch/arm64/kernel/hyp-stub.S, __hyp_stub_vectors
 */
#include "sysreg.inc"

        .balign 0x800
__hyp_stub_vectors:
hyp_el2t_sync_invalid:
        b       hyp_el2t_sync_invalid
        .balign 0x80
hyp_el2t_irq_invalid:
        b       hyp_el2t_irq_invalid
        .balign 0x80
hyp_el2t_fiq_invalid:
        b       hyp_el2t_fiq_invalid
        .balign 0x80
hyp_el2t_error_invalid:
        b       hyp_el2t_error_invalid
        .balign 0x80
hyp_el2h_sync:
        b       elx_sync
        .balign 0x80
hyp_el2h_irq_invalid:
        b       hyp_el2h_irq_invalid
        .balign 0x80
hyp_el2h_fiq_invalid:
        b       hyp_el2h_fiq_invalid
        .balign 0x80
hyp_el2h_error_invalid:
        b       hyp_el2h_error_invalid
        .balign 0x80
hyp_el1_64_sync:
        b       elx_sync
        .balign 0x80
hyp_el1_64_irq_invalid:
        b       hyp_el1_64_irq_invalid
        .balign 0x80
hyp_el1_64_fiq_invalid:
        b       hyp_el1_64_fiq_invalid
        .balign 0x80
hyp_el1_64_error_invalid:
        b       hyp_el1_64_error_invalid
        .balign 0x80
hyp_el1_32_sync_invalid:
        b       hyp_el1_32_sync_invalid
        .balign 0x80
hyp_el1_32_irq_invalid:
        b       hyp_el1_32_irq_invalid
        .balign 0x80
hyp_el1_32_fiq_invalid:
        b       hyp_el1_32_fiq_invalid
        .balign 0x80
hyp_el1_32_error_invalid:
        b       hyp_el1_32_error_invalid
        .balign 0x80

elx_sync:
        cmp     x0, #HVC_SET_VECTORS
        b.eq    hyp_set_vectors
        cmp     x0, #HVC_RESET_VECTORS
        b.eq    hyp_done
        cmp     x0, #HVC_SOFT_RESTART
        b.eq    hyp_soft_restart
hyp_refuse:
        movz    x0, #(HVC_STUB_ERR & 0xffff)
        movk    x0, #(HVC_STUB_ERR >> 16), lsl #16
        eret
hyp_soft_restart:
        mov     x0, x2                                  // arguments move down by two
        mov     x2, x4
        mov     x4, x1                                  // x4 = where to
        mov     x1, x3
        br      x4
hyp_set_vectors:
        msr     vbar_el2, x1
hyp_done:
        mov     x0, xzr
        eret
        .size   __hyp_stub_vectors, . - __hyp_stub_vectors

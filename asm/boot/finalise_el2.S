/* SPDX-License-Identifier: GPL-2.0-or-later
 * finalise_el2 - ask the hyp stub for VHE, when there is a stub
 *
 * in:       w0 = boot mode
 * out:      x0 = HVC_STUB_ERR when the stub was asked, else unspecified
 * clobbers: x0, NZCV
 * memory:   none
 * state:    EL1, MMU on, no stack; the stub runs at EL2, MMU off
 * exits:    ret
 * model:    entered at EL1: nothing happens. Entered at EL2: one hvc to __hyp_stub_vectors, which refuses
 * source:   original; compare Linux v6.12 arch/arm64/kernel/hyp-stub.S, finalise_el2
 */
#include "macros.inc"
#include "sysreg.inc"

finalise_el2:
        cmp     w0, #BOOT_CPU_MODE_EL2
        b.ne    finalise_el2_done
        mrs     x0, CurrentEL
        cmp     x0, #CurrentEL_EL2
        b.eq    finalise_el2_done                       // already there
        mov     x0, #HVC_FINALISE_EL2
        hvc     #0
finalise_el2_done:
        ret
        .size   finalise_el2, . - finalise_el2

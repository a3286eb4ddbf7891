/* SPDX-License-Identifier: GPL-2.0-or-later
 * __secondary_switched - first instructions at kernel virtual addresses
 *
 * in:       x19 = logical CPU number or context ID where the design has one; x20 = boot mode
 * out:      none
 * clobbers: x0, x1, x3, x5, x30, NZCV
 * memory:   writes __boot_cpu_mode; writes __early_cpu_boot_status where a passing CPU clears it
 * state:    EL1, MMU on, no stack
 * exits:    falls through: into the design's lookup or slot
 * model:    __early_cpu_boot_status == 0 afterwards (variant global only); VBAR_EL1 = VA of vectors
 * source:   original; compare Linux v6.12 arch/arm64/kernel/head.S, __secondary_switched
 */
#include "macros.inc"

__secondary_switched:
        mov     x0, x20
        bl      set_cpu_boot_mode_flag
        mov     x0, x20
        bl      finalise_el2
        early_cpu_boot_status_passed 3
        adr_l   x5, vectors
        msr     vbar_el1, x5
        isb
        .size   __secondary_switched, . - __secondary_switched

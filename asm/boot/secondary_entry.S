/* SPDX-License-Identifier: GPL-2.0-or-later
 * secondary_entry - where PSCI starts a secondary
 *
 * in:       x0 = context ID, not looked at
 * out:      x0 = boot mode (0xe11 or 0xe12)
 * clobbers: x1, x2, x30, NZCV
 * memory:   none
 * state:    EL1 or EL2 on entry, EL1 on exit, MMU off, no stack
 * exits:    to secondary_startup
 * model:    none: control flow only
 * source:   original; compare Linux v6.12 arch/arm64/kernel/head.S, secondary_entry
 */

secondary_entry:
        mov     x0, xzr                                 // entered with the MMU off
        bl      init_kernel_el
        b       secondary_startup
        .size   secondary_entry, . - secondary_entry

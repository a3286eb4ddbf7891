/* SPDX-License-Identifier: GPL-2.0-or-later
 * secondary_entry - where PSCI starts a secondary; keeps the context ID
 *
 * in:       x0 = context ID: VA of this CPU's struct secondary_data, or 0
 * out:      x0 = boot mode (0xe11 or 0xe12); x19 = context ID, alive to the slot look-up
 * clobbers: x1, x2, x19, x30, NZCV
 * memory:   none
 * state:    EL1 or EL2 on entry, EL1 on exit, MMU off, no stack
 * exits:    to secondary_startup
 * model:    x19 = x0 as PSCI gave it
 * source:   original; compare Linux v6.12 arch/arm64/kernel/head.S, secondary_entry
 */

secondary_entry:
        mov     x19, x0                                 // nothing before the slot look-up may touch x19
        mov     x0, xzr                                 // entered with the MMU off
        bl      init_kernel_el
        b       secondary_startup
        .size   secondary_entry, . - secondary_entry

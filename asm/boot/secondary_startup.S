/* SPDX-License-Identifier: GPL-2.0-or-later
 * secondary_startup - where both ways in meet
 *
 * in:       x0 = boot mode
 * out:      x20 = boot mode
 * clobbers: none
 * memory:   none
 * state:    EL1, MMU off, no stack
 * exits:    falls through: into the next fragment, a lookup or secondary_startup_mmu
 * model:    x20 = x0
 * source:   original; compare Linux v6.12 arch/arm64/kernel/head.S, secondary_startup
 */

secondary_startup:
        mov     x20, x0                                 // alive to __secondary_switched
        .size   secondary_startup, . - secondary_startup

/* SPDX-License-Identifier: GPL-2.0-or-later
 * secondary_start_kernel - where assembly ends: stands in for the C function
 *
 * in:       SP_EL0 = task; SP = its stack; TPIDR_EL1 = per-CPU offset
 * out:      none
 * clobbers: none
 * memory:   none
 * state:    EL1, MMU on, stack
 * exits:    parks here for ever; the emulator takes over at the first instruction
 * model:    none: the host plays this function
 * source:   original; compare Linux v6.12 arch/arm64/kernel/smp.c, secondary_start_kernel
 */

secondary_start_kernel:
        wfe
        wfi
        b       secondary_start_kernel
        .size   secondary_start_kernel, . - secondary_start_kernel

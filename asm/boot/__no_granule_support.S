/* SPDX-License-Identifier: GPL-2.0-or-later
 * __no_granule_support - park a CPU that lacks the kernel's granule
 *
 * in:       x19 = logical CPU number, where the early status is per CPU
 * out:      none
 * clobbers: x1, x2
 * memory:   writes __early_cpu_boot_status
 * state:    EL1, MMU off, no stack
 * exits:    parks at no_granule_stuck for ever
 * model:    the early status says CPU_STUCK_IN_KERNEL | CPU_STUCK_REASON_NO_GRAN
 * source:   original; compare Linux v6.12 arch/arm64/kernel/head.S, __no_granule_support
 */
#include "macros.inc"

__no_granule_support:
        update_early_cpu_boot_status (CPU_STUCK_IN_KERNEL | CPU_STUCK_REASON_NO_GRAN), 1, 2
        park    no_granule_stuck
        .size   __no_granule_support, . - __no_granule_support

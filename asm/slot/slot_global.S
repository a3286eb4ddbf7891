/* SPDX-License-Identifier: GPL-2.0-or-later
 * slot_global - the one struct secondary_data that all CPUs share
 *
 * in:       none
 * out:      x0 = VA of secondary_data
 * clobbers: none
 * memory:   none
 * state:    EL1, MMU on, no stack
 * exits:    falls through: into secondary_load_task
 * model:    x0 = &secondary_data
 * source:   original; compare Linux v6.12 arch/arm64/kernel/head.S, __secondary_switched
 */
#include "macros.inc"

slot_global:
        adr_l   x0, secondary_data
        .size   slot_global, . - slot_global

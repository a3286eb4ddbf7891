/* SPDX-License-Identifier: GPL-2.0-or-later
 * slot_per_cpu - this CPU's element of cpu_boot_data
 *
 * in:       x19 = logical CPU number, 0..NR_CPUS-1
 * out:      x0 = VA of cpu_boot_data[x19]
 * clobbers: none
 * memory:   none
 * state:    EL1, MMU on, no stack
 * exits:    falls through: into secondary_load_task
 * model:    x0 = &cpu_boot_data[x19]
 * source:   original; follows the description of the rfc, v2 and v3 series (June 2026)
 */
#include "macros.inc"

slot_per_cpu:
        adr_l   x0, cpu_boot_data
        add     x0, x0, x19, lsl #SECONDARY_DATA_SHIFT
        .size   slot_per_cpu, . - slot_per_cpu

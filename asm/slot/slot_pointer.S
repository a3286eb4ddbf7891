/* SPDX-License-Identifier: GPL-2.0-or-later
 * slot_pointer - the struct secondary_data that the context ID points to
 *
 * in:       x19 = context ID: VA of this CPU's struct secondary_data, or 0
 * out:      x0 = x19, or VA of secondary_data when that is 0
 * clobbers: none
 * memory:   none
 * state:    EL1, MMU on, no stack
 * exits:    falls through: into secondary_load_task
 * model:    x0 = x19 or &secondary_data
 * source:   original; follows the description of the maintainer's context-ID branch
 */
#include "macros.inc"

slot_pointer:
        mov     x0, x19
        cbnz    x0, slot_found
slot_fallback:
        adr_l   x0, secondary_data                      // spin-table, or firmware that lost the context ID
slot_found:
        .size   slot_pointer, . - slot_pointer

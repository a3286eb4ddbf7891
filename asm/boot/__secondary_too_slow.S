/* SPDX-License-Identifier: GPL-2.0-or-later
 * __secondary_too_slow - where a CPU ends that found nothing to do
 *
 * in:       none
 * out:      none
 * clobbers: none
 * memory:   none
 * state:    EL1, MMU on or off, no stack
 * exits:    parks here for ever, without a status
 * model:    none: control flow only
 * source:   original; compare Linux v6.12 arch/arm64/kernel/head.S, __secondary_too_slow
 */
#include "macros.inc"

__secondary_too_slow:
        wfe
        wfi
        b       __secondary_too_slow
        .size   __secondary_too_slow, . - __secondary_too_slow

/* SPDX-License-Identifier: GPL-2.0-or-later
 * __cpu_secondary_check52bitva - park a CPU that lacks 52-bit VAs in a kernel that uses them
 *
 * in:       x19 = logical CPU number, where the early status is per CPU
 * out:      none
 * clobbers: x0, x1, NZCV
 * memory:   reads vabits_actual, u64; writes __early_cpu_boot_status when it parks
 * state:    EL1, MMU off, no stack
 * exits:    ret; or parks at va52_stuck for ever
 * model:    parks when vabits_actual == 52 and ID_AA64MMFR2_EL1.VARange == 0
 * source:   original; compare Linux v6.12 arch/arm64/kernel/head.S, __cpu_secondary_check52bitva
 */
#include "macros.inc"
#include "sysreg.inc"

__cpu_secondary_check52bitva:
        adr_l   x0, vabits_actual
        ldr     x0, [x0]
        cmp     x0, #52
        b.ne    va52_ok
        mrs     x0, id_aa64mmfr2_el1
        and     x0, x0, #ID_AA64MMFR2_EL1_VARange_MASK
        cbnz    x0, va52_ok
va52_missing:
        update_early_cpu_boot_status (CPU_STUCK_IN_KERNEL | CPU_STUCK_REASON_52_BIT_VA), 0, 1
        park    va52_stuck
va52_ok:
        ret
        .size   __cpu_secondary_check52bitva, . - __cpu_secondary_check52bitva

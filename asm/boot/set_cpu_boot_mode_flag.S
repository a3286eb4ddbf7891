/* SPDX-License-Identifier: GPL-2.0-or-later
 * set_cpu_boot_mode_flag - remember which EL CPUs were entered at
 *
 * in:       w0 = boot mode
 * out:      none
 * clobbers: x1, NZCV
 * memory:   writes __boot_cpu_mode[0] (u32), or [1] when w0 is BOOT_CPU_MODE_EL2
 * state:    EL1, MMU on, no stack
 * exits:    ret
 * model:    __boot_cpu_mode[w0 == BOOT_CPU_MODE_EL2] = w0
 * source:   original; compare Linux v6.12 arch/arm64/kernel/head.S, set_cpu_boot_mode_flag
 */
#include "macros.inc"

set_cpu_boot_mode_flag:
        adr_l   x1, __boot_cpu_mode
        cmp     w0, #BOOT_CPU_MODE_EL2
        b.ne    set_cpu_boot_mode_store
        add     x1, x1, #4
set_cpu_boot_mode_store:
        str     w0, [x1]
        ret
        .size   set_cpu_boot_mode_flag, . - set_cpu_boot_mode_flag

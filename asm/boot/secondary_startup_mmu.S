/* SPDX-License-Identifier: GPL-2.0-or-later
 * secondary_startup_mmu - the rest of secondary_startup: check, set up, MMU on
 *
 * in:       x19 = logical CPU number or context ID where the design has one; x20 = boot mode
 * out:      x8 = VA of __secondary_switched
 * clobbers: x0-x3, x5, x8, x16, x17, x30, NZCV
 * memory:   reads the literal behind its last instruction; a callee that parks writes
 *           __early_cpu_boot_status
 * state:    EL1, MMU off on entry and on on exit, no stack; this text must be in the idmap
 * exits:    to __secondary_switched at its VA; or a callee parks the CPU
 * model:    none: control flow only
 * source:   original; compare Linux v6.12 arch/arm64/kernel/head.S, secondary_startup
 */
#include "macros.inc"

secondary_startup_mmu:
        bl      __cpu_secondary_check52bitva
        bl      __cpu_setup                             // x0 = SCTLR_EL1 with the MMU on
        adr_l   x1, swapper_pg_dir
        adr_l   x2, idmap_pg_dir
        bl      __enable_mmu
        ldr     x8, .Lva_of_secondary_switched
        br      x8
        .balign 8
.Lva_of_secondary_switched:
        .quad   __secondary_switched + VA_OFFSET
        .size   secondary_startup_mmu, . - secondary_startup_mmu

/* SPDX-License-Identifier: GPL-2.0-or-later
 * secondary_load_task - take the idle task, its stack and per-CPU area; enter C
 *
 * in:       x0 = VA of this CPU's struct secondary_data
 * out:      SP_EL0 = task; SP = its stack + THREAD_SIZE - PT_REGS_SIZE; x29 = SP + S_STACKFRAME;
 *           TPIDR_EL1 = __per_cpu_offset[task's cpu]
 * clobbers: x1, x2, x3, x29, x30, SP
 * memory:   reads the task pointer, the task's cpu and stack, __per_cpu_offset; writes 16 bytes at
 *           SP + S_STACKFRAME
 * state:    EL1, MMU on; a stack from init_cpu_task on
 * exits:    bl secondary_start_kernel, which never returns (brk behind it); to __secondary_too_slow when
 *           the task is 0
 * model:    SP_EL0 = *x0; the final frame record is two zero words
 *           MODEL: no pointer authentication, no shadow call stack; not VHE, so TPIDR_EL2 is left alone
 * source:   original; compare Linux v6.12 arch/arm64/kernel/head.S, __secondary_switched and init_cpu_task
 */
#include "macros.inc"
#include "sysreg.inc"

secondary_load_task:
        ldr     x2, [x0, #CPU_BOOT_TASK]                // x2 = idle task of this CPU
        cbz     x2, __secondary_too_slow

init_cpu_task:
        msr     sp_el0, x2                              // current
        ldr     x1, [x2, #TSK_STACK]
        add     sp, x1, #THREAD_SIZE
        sub     sp, sp, #PT_REGS_SIZE
        stp     xzr, xzr, [sp, #S_STACKFRAME]           // where an unwinder stops
        add     x29, sp, #S_STACKFRAME
        adr_l   x1, __per_cpu_offset
        ldr     w3, [x2, #TSK_TI_CPU]
        ldr     x1, [x1, x3, lsl #3]
        msr     tpidr_el1, x1

        bl      secondary_start_kernel
        brk     #BUG_BRK_IMM
        .size   secondary_load_task, . - secondary_load_task

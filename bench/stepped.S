/* SPDX-License-Identifier: GPL-2.0-or-later
 * A secondary that never arrives: a loop with a load and a store, to be stepped through.
 */
#include "include/macros.inc"
#include "include/early_status_per_cpu.inc"
secondary_entry:
        adrp    x1, counted                             // page-aligned
        mov     x0, #0
step_loop:
        ldr     x2, [x1]
        add     x2, x2, #1
        str     x2, [x1]
        add     x0, x0, #1
        b       step_loop

#include "boot/secondary_startup.S"
#include "boot/secondary_holding_pen.S"
#include "lookup/v3.S"
#include "boot/secondary_startup_mmu.S"
#include "boot/__cpu_secondary_check52bitva.S"
#include "boot/__cpu_setup.S"
#include "boot/__enable_mmu.S"
#include "boot/__no_granule_support.S"
#include "boot/init_kernel_el.S"
#include "boot/__secondary_switched.S"
#include "slot/slot_per_cpu.S"
#include "boot/secondary_load_task.S"
#include "boot/__secondary_too_slow.S"
#include "boot/set_cpu_boot_mode_flag.S"
#include "boot/finalise_el2.S"
#include "boot/secondary_start_kernel.S"
#include "boot/__hyp_stub_vectors.S"
#include "boot/vectors.S"
#include "data/boot_data.S"
        .balign 4096
counted:
        .quad 0

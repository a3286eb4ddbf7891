/* SPDX-License-Identifier: GPL-2.0-or-later
 * v3's fragments, and a lock around a counter that each secondary takes with its MMU off and again with it on.
 */
#include "include/early_status_per_cpu.inc"
#include "boot/secondary_holding_pen.S"
#include "boot/secondary_entry.S"
#include "boot/secondary_startup.S"
#include "lookup/v3.S"

        adr_l   x1, lock
        mov     w2, #1
off:    ldaxr   w3, [x1]
        cbnz    w3, off
        stxr    w4, w2, [x1]
        cbnz    w4, off
        ldr     x5, [x1, #64]
        add     x5, x5, #1
        str     x5, [x1, #64]
        stlr    wzr, [x1]

#include "boot/secondary_startup_mmu.S"
#include "boot/__cpu_secondary_check52bitva.S"
#include "boot/__cpu_setup.S"
#include "boot/__enable_mmu.S"
#include "boot/__no_granule_support.S"
#include "boot/init_kernel_el.S"
#include "boot/__secondary_switched.S"

        adr_l   x1, lock
        mov     w2, #1
on:    ldaxr   w3, [x1]
        cbnz    w3, on
        stxr    w4, w2, [x1]
        cbnz    w4, on
        ldr     x5, [x1, #64]
        add     x5, x5, #1
        str     x5, [x1, #64]
        stlr    wzr, [x1]

#include "slot/slot_per_cpu.S"
#include "boot/secondary_load_task.S"
#include "boot/__secondary_too_slow.S"
#include "boot/set_cpu_boot_mode_flag.S"
#include "boot/finalise_el2.S"
#include "boot/secondary_start_kernel.S"
#include "boot/__hyp_stub_vectors.S"
#include "boot/vectors.S"
#include "data/boot_data.S"

        .balign 64
lock:   .quad   0
        .balign 64
        .quad   0
        .balign 64

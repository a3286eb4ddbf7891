/* SPDX-License-Identifier: GPL-2.0-or-later
 * A whole boot path of one's own: v3's fragments, with the look-up written out to be changed.
 *
 *   emu boot examples/my_boot.S --cpus 16
 */
#include "include/early_status_per_cpu.inc"
#include "boot/secondary_holding_pen.S"
#include "boot/secondary_entry.S"
#include "boot/secondary_startup.S"

// in: the MMU is off; out: x19 = logical CPU number; it and x20 (boot mode) must stay alive
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1                              // x0 = hwid of this PE
        adr_l   x1, __cpu_logical_map
        mov     x19, #0
my_scan:
        ldr     x3, [x1, x19, lsl #3]
        cmp     x3, x0
        b.eq    my_found
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.ne    my_scan
        b       __secondary_too_slow
my_found:

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

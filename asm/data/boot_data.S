/* SPDX-License-Identifier: GPL-2.0-or-later
 * boot_data - what the boot CPU and a secondary share, and the root page tables
 *
 * in:       none
 * out:      none
 * clobbers: none
 * memory:   is memory: what each object is follows at its label
 * state:    none: never executed
 * exits:    none: no code
 * model:    sizes follow struct secondary_data and NR_CPUS; the host fills every object
 * source:   original; compare Linux v6.12 arch/arm64/kernel/smp.c, setup.c and head.S for the names
 */

        .balign 0x800
boot_data:
        .zero   64                                      // what follows has names of its own
secondary_data:                                         // struct secondary_data: task, status
        .zero   SECONDARY_DATA_SIZE
        .balign 64
cpu_boot_data:                                          // struct secondary_data[NR_CPUS]
        .zero   NR_CPUS << SECONDARY_DATA_SHIFT
        .balign 64
__mpidr_to_cpuid_table:                                 // u64 hwid[NR_CPUS], BSS
        .zero   NR_CPUS * 8
        .balign 64
__cpu_logical_map:                                      // u64 hwid[NR_CPUS], INVALID_HWID
        .fill   NR_CPUS * 2, 4, -1
        .balign 64
__per_cpu_offset:                                       // u64[NR_CPUS]
        .zero   NR_CPUS * 8
        .balign 64
vabits_actual:                                          // u64
        .quad   48
__boot_cpu_mode:                                        // u32[2], as before any CPU has reported
        .word   BOOT_CPU_MODE_EL2, BOOT_CPU_MODE_EL1

// Accessed with the MMU off: each alone in its cache writeback granule, whose largest size is 2 KiB.
        .balign 0x800
__early_cpu_boot_status:
        early_cpu_boot_status_storage
        .balign 0x800
secondary_holding_pen_release:                          // u64, INVALID_HWID
        .fill   2, 4, -1
        .balign 0x800

        .balign 0x1000
swapper_pg_dir:
        .zero   0x1000
idmap_pg_dir:
        .zero   0x1000
boot_data_end:
        .size   boot_data, . - boot_data

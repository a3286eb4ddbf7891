"""The arm64 boot ABI between the boot CPU and a secondary.

Sources: Linux v6.12 arch/arm64/include/asm/smp.h (struct secondary_data, status words), asm/virt.h (boot
mode), asm/thread_info.h, asm/sysreg.h (INIT_SCTLR_EL1_MMU_OFF), Documentation/arch/arm64/booting.rst.
"""

from __future__ import annotations

NR_CPUS_MAX = 4096  # Kconfig: range of NR_CPUS on arm64

# struct secondary_data { struct task_struct *task; long status; }
CPU_BOOT_TASK = 0
CPU_BOOT_STATUS = 8
SECONDARY_DATA_SIZE = 16
SECONDARY_DATA_SHIFT = 4

CPU_MMU_OFF = -1
CPU_BOOT_SUCCESS = 0
CPU_KILL_ME = 1
CPU_STUCK_IN_KERNEL = 2
CPU_PANIC_KERNEL = 3
CPU_BOOT_STATUS_MASK = 0xFF
CPU_STUCK_REASON_52_BIT_VA = 1 << 8
CPU_STUCK_REASON_NO_GRAN = 2 << 8

BOOT_CPU_MODE_EL1 = 0xE11
BOOT_CPU_MODE_EL2 = 0xE12

# Addresses of the fragments: the values of a kernel with 48-bit VAs and 4K pages, loaded 2 MiB into DRAM.
DRAM_BASE = 0x4000_0000
IMAGE_PA = 0x4020_0000
KIMAGE_VADDR = 0xFFFF_8000_8000_0000
VA_OFFSET = KIMAGE_VADDR - IMAGE_PA

# struct task_struct and struct pt_regs as the fragments use them, reduced to the fields that they access.
TSK_TI_CPU = 0x10  # u32
TSK_STACK = 0x20  # void *
TASK_STRUCT_SIZE = 0x80
THREAD_SIZE = 0x4000
PT_REGS_SIZE = 0x150
S_STACKFRAME = 0x130

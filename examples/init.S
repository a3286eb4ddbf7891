/* SPDX-License-Identifier: GPL-2.0-or-later
 * An init that takes CPU1 down and up again through sysfs, and switches the machine off.
 *
 *   emu boot IMAGE --depth whole --cpus 2 --initrd examples/init.S --until poweroff
 *
 * Numbers of system calls: Linux v6.12 include/uapi/asm-generic/unistd.h.
 */
_start:
        adr     x0, sysfs                               // mount("sysfs", "/sys", "sysfs", 0, NULL)
        adr     x1, sys
        adr     x2, sysfs
        mov     x3, #0
        mov     x4, #0
        mov     x8, #40
        svc     #0
        mov     x0, #-100                               // openat(AT_FDCWD, online, O_WRONLY)
        adr     x1, online
        mov     x2, #1
        mov     x8, #56
        svc     #0
        mov     x19, x0
        adr     x1, zero                                // write(online, "0", 1): CPU_OFF
        bl      write_one
        adr     x1, one                                 // write(online, "1", 1): CPU_ON
        bl      write_one
        mov     x0, #1                                  // write(1, done, ...)
        adr     x1, done
        mov     x2, #30
        mov     x8, #64
        svc     #0
        movz    x0, #0xdead                             // reboot(..., LINUX_REBOOT_CMD_POWER_OFF, NULL)
        movk    x0, #0xfee1, lsl #16
        movz    x1, #0x1969
        movk    x1, #0x2812, lsl #16
        movz    x2, #0xfedc
        movk    x2, #0x4321, lsl #16
        mov     x3, #0
        mov     x8, #142
        svc     #0
        b       .

write_one:
        mov     x0, x19
        mov     x2, #1
        mov     x8, #64
        svc     #0
        ret

sysfs:  .asciz  "sysfs"
sys:    .asciz  "/sys"
online: .asciz  "/sys/devices/system/cpu/cpu1/online"
zero:   .asciz  "0"
one:    .asciz  "1"
done:   .asciz  "init: CPU1 has come and gone.\n"

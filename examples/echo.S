/* SPDX-License-Identifier: GPL-2.0-or-later
 * An init that prints each line that the console receives, and switches the machine off behind "off".
 *
 *   printf 'hello\noff\n' >lines
 *   emu boot IMAGE --depth whole --initrd examples/echo.S --input lines --until poweroff
 *
 * Numbers of system calls: Linux v6.12 include/uapi/asm-generic/unistd.h.
 */
_start:
again:  mov     x0, #0
        adr     x1, buffer
        mov     x2, #64
        mov     x8, #63                                 // read(0, buffer, 64)
        svc     #0
        mov     x20, x0
        mov     x0, #1
        adr     x1, got
        mov     x2, #6
        mov     x8, #64
        svc     #0
        mov     x0, #1                                  // write(1, buffer, n)
        adr     x1, buffer
        mov     x2, x20
        mov     x8, #64
        svc     #0
        adr     x1, buffer
        ldrb    w0, [x1]
        cmp     w0, #'o'
        b.ne    again
        movz    x0, #0xdead
        movk    x0, #0xfee1, lsl #16
        movz    x1, #0x1969
        movk    x1, #0x2812, lsl #16
        movz    x2, #0xfedc
        movk    x2, #0x4321, lsl #16
        mov     x3, #0
        mov     x8, #142
        svc     #0
        b       .
got:    .ascii  "init: "
        .balign 8
buffer: .space 64

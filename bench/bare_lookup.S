/* SPDX-License-Identifier: GPL-2.0-or-later
 * The least that a guest must do to look thousands of CPUs up: no checks, nothing poisoned.
 *
 * x20 = next MPIDR, x21 = where its index goes, x22 = how many; TABLE is the u64[NR_CPUS] to search.
 */
start:
        ldr     x0, [x20], #8
        movz    x1, #0xff, lsl #32
        movk    x1, #0xff, lsl #16
        movk    x1, #0xffff
        and     x0, x0, x1
        adr     x1, TABLE
        mov     x19, #0
scan:
        ldr     x3, [x1, x19, lsl #3]
        cmp     x3, x0
        b.eq    found
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    scan
found:
        str     x19, [x21], #8
        sub     x22, x22, #1
        cbnz    x22, start
        hvc     #0

/* SPDX-License-Identifier: GPL-2.0-or-later */
// A table of 32 bits an entry, for machines without Aff3: a CPU that has some is in no such table.
find:
        mrs     x0, mpidr_el1
        ubfx    x1, x0, #32, #8
        cbnz    x1, missing
        and     x0, x0, #0xffffff                       // x0 = hwid of this PE
        ldr     x1, =hwids
        mov     w19, #0
scan:
        ldr     w2, [x1, w19, uxtw #2]
        cmp     w2, w0
        b.eq    found
        add     w19, w19, #1
        cmp     w19, #NR_CPUS
        b.lo    scan
missing:
        b       missing
found:
        nop

/* SPDX-License-Identifier: GPL-2.0-or-later
 * halves - compares 32 bits at a time, and loads them together: two loads may see two different CPUs
 *
 * in:       x0 = MPIDR_EL1; x1 = PA of the table, u64[x2], 8-byte aligned; x2 = entries, 1..4096
 * out:      x3 = logical CPU number, or -1 when no entry matches
 * clobbers: x4-x7, NZCV
 * memory:   reads [x1, x1 + 8*x2); writes none
 * state:    EL1 or EL2, MMU off, no stack
 * exits:    ret, after at most 10*x2 + 7 instructions
 * model:    first i with table[i] == hwid(mpidr)
 * source:   original
 */
halves:
        and     w4, w0, #0xffffff                       // w4 = Aff2..Aff0
        ubfx    x5, x0, #32, #8                         // w5 = Aff3
        mov     x6, x1
        mov     x3, #0
scan:
        ldr     x7, [x6]
        cmp     w7, w4
        b.ne    next
        lsr     x7, x7, #32
        cmp     w7, w5
        b.eq    done
next:
        add     x6, x6, #8
        add     x3, x3, #1
        cmp     x3, x2
        b.ne    scan
        mov     x3, #-1
done:
        ret
        .size   halves, . - halves

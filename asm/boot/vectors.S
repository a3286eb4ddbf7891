/* SPDX-License-Identifier: GPL-2.0-or-later
 * vectors - EL1 vectors; an exception nobody expects ends at its own entry
 *
 * in:       none
 * out:      none
 * clobbers: none
 * memory:   none
 * state:    EL1, MMU on; the stack of the CPU that took the exception
 * exits:    parks at the entry that was taken, for ever
 * model:    the PC names the exception: el1h_64_sync and so on; ESR_EL1, ELR_EL1 and FAR_EL1 stay as taken
 * source:   original; compare Linux v6.12 arch/arm64/kernel/entry.S, vectors
 */

        .balign 0x800
vectors:
el1t_64_sync:
        b       el1t_64_sync
        .balign 0x80
el1t_64_irq:
        b       el1t_64_irq
        .balign 0x80
el1t_64_fiq:
        b       el1t_64_fiq
        .balign 0x80
el1t_64_error:
        b       el1t_64_error
        .balign 0x80
el1h_64_sync:
        b       el1h_64_sync
        .balign 0x80
el1h_64_irq:
        b       el1h_64_irq
        .balign 0x80
el1h_64_fiq:
        b       el1h_64_fiq
        .balign 0x80
el1h_64_error:
        b       el1h_64_error
        .balign 0x80
el0t_64_sync:
        b       el0t_64_sync
        .balign 0x80
el0t_64_irq:
        b       el0t_64_irq
        .balign 0x80
el0t_64_fiq:
        b       el0t_64_fiq
        .balign 0x80
el0t_64_error:
        b       el0t_64_error
        .balign 0x80
el0t_32_sync:
        b       el0t_32_sync
        .balign 0x80
el0t_32_irq:
        b       el0t_32_irq
        .balign 0x80
el0t_32_fiq:
        b       el0t_32_fiq
        .balign 0x80
el0t_32_error:
        b       el0t_32_error
        .balign 0x80
        .size   vectors, . - vectors

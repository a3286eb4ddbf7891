/* SPDX-License-Identifier: GPL-2.0-or-later */
// Two entries a step with LDP; an odd last entry comes first, so that no pair ends behind the table.
#include "macros.inc"

find:
        mrs     x9, mpidr_el1
        mov_q   x10, MPIDR_HWID_BITMASK
        and     x9, x9, x10                             // x9 = hwid of this PE
        adr_l   x10, __cpu_logical_map
        mov     x0, #NR_CPUS                            // x0 = entries not looked at, from the end
        .if     NR_CPUS & 1
        sub     x0, x0, #1
        ldr     x11, [x10, x0, lsl #3]
        cmp     x11, x9
        b.eq    done
        cbz     x0, none
        .endif
pair:
        sub     x0, x0, #2
        add     x13, x10, x0, lsl #3
        ldp     x11, x12, [x13]
        cmp     x11, x9
        b.eq    done
        cmp     x12, x9
        b.eq    upper
        cbnz    x0, pair
none:
        mov     x0, #-1
        ret
upper:
        add     x0, x0, #1
done:
        ret

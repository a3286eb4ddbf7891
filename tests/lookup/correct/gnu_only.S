/* SPDX-License-Identifier: GPL-2.0-or-later
 * gnu_only - numeric labels, as kernel code has them, in a macro and around it: Keystone takes none of these
 *
 * in:       none; reads MPIDR_EL1
 * out:      x19 = logical CPU number, 0..NR_CPUS-1
 * clobbers: x0 (hwid), x1 (table), x3 (entry), NZCV
 * memory:   reads __cpu_logical_map, u64[NR_CPUS] of hwid, unused INVALID_HWID; writes none
 * state:    EL1, MMU off, no stack
 * exits:    reaches found, within 8*NR_CPUS + 9 instructions; else at missing
 * model:    the logical id of hwid(MPIDR_EL1)
 * source:   original
 */
        .macro  scan_map, hwid, table, index, tmp
        mov     \index, #0
1:      ldr     \tmp, [\table, \index, lsl #3]
        cmn     \tmp, #1
        b.eq    2f
        cmp     \tmp, \hwid
        b.eq    3f
2:      add     \index, \index, #1
        cmp     \index, #NR_CPUS
        b.ne    1b
        b       missing
3:
        .endm

gnu_only:
        mrs     x0, mpidr_el1
        mov     x1, #(MPIDR_HWID_BITMASK & 0xffff)
        movk    x1, #(MPIDR_HWID_BITMASK >> 16 & 0xffff), lsl #16
        movk    x1, #(MPIDR_HWID_BITMASK >> 32 & 0xffff), lsl #32
        and     x0, x0, x1                              // x0 = hwid of this PE
        adrp    x1, __cpu_logical_map
        add     x1, x1, :lo12:__cpu_logical_map
        scan_map x0, x1, x19, x3
found:
        nop
missing:
1:      wfe
        b       1b
        .size   gnu_only, . - gnu_only

"""Texts that assemblers must agree on; | stands for a new line."""

# What users write that Keystone alone would refuse, drop or get wrong.
TEXTS = """\
adrp x0, a | add x0, x0, :lo12:a | .zero 0x1ff4 | nop | a: nop
adrp x1, a | ldr x0, [x1, :lo12:a] | .zero 0x1ff4 | nop | a: nop
adrp x0, a + 0x1000 | add x0, x0, #:lo12:a + 8 | a: nop
nop | .balign 0x1000 | b: nop | adrp x3, c | .balign 0x1000 | c: adrp x4, b
1: nop | b 1b | b 1f | 1: nop | cbz x0, 1b
2: ldr x0, [x1], #8 | cbnz x0, 2b | tbz x0, #33, 2b
stp x29, x30, [sp, #-16]! | ldp x29, x30, [sp], #16 | sub sp, sp, #(16 * 2)
ldp x0, x1, [x2, #16] | ldr x0, [x1, w2, uxtw 3] | movk x0, #0xffff, lsl 48 | cmp x0, 4096
msr daifset, #15 | msr spsel, #1 | hint 34 | hvc 0 | smc #10 | brk 0x800
paciasp | autiasp | bti c | bti jc | csdb | esb | xpaclri
mrs x0, id_aa64mmfr2_el1 | mrs x0, S3_0_C0_C7_2 | msr s3_0_c4_c2_0, x0 | msr TTBR0_EL1, x1
.word 17, 18 | .byte 10, 'a' | .hword 1000 | .dword 0x10 | .xword 20 | .balign 4
.ascii "16 10;//" | .string "a\\"b" | .balign 4
.set foo, 16 ; mov x0, #foo | bar = 17 ; mov x0, #bar | .equ foo, foo + 1 | mov x1, #foo
.macro m a, b=12 | mov \\a, #\\b | .endm | m x0 | m x1, 13 | m b=14, a=x2
.macro m a:req, rest:vararg | add \\a, \\rest | .endm | m x0, x1, x2
.macro m | b .Lskip\\@ | nop | .Lskip\\@: | .endm | m | m
.rept 3 | nop | .endr | .irp r, 0, 1, 12 | mov x\\r, #0 | .endr
.if 1 == 1 | nop | .else | wfe | .endif | .ifndef NOPE | sev | .endif | .ifc a, a | wfi | .endif
mov x0, #1 + 2 * 3 | mov x0, #(1 << 4) + 3 | mov x1, #-1 | and x0, x0, #~15 | mov x0, #010
mov x0, #1 << 2 + 1 | mov x0, #8 / 3 * 2 | mov x0, #(5 > 3) + 2
a: nop | .word . - a | .word b - a | .quad b | b: nop
.balign 8 | .quad 1 | .balign 64 | .quad 2 | .skip 12, 1 | .fill 3, 2, 0x1234 | .balign 4
adr x0, . | b . | b . + 8 | ldr x1, a | b.eq a | bne a | a: tbnz w1, #10, a
mov x0, 16 // c | nop /* 17 */ | nop ; wfe
.p2align 4 | nop | .align 2 | nop | .p2align 4
.global a | .type a, %function | a: nop | .size a, . - a | .text | .section ".text", "ax" | ret
""".splitlines()

# A v3 with code of a test's own on the way of a secondary: where the MMU is off, and where it is on.
TEMPLATE = """
#include "include/macros.inc"
#include "include/sysreg.inc"
#include "include/early_status_per_cpu.inc"
#include "boot/secondary_holding_pen.S"
#include "boot/secondary_entry.S"
#include "boot/secondary_startup.S"
#include "lookup/v3.S"
{off}
#include "boot/secondary_startup_mmu.S"
#include "boot/__cpu_secondary_check52bitva.S"
#include "boot/__cpu_setup.S"
#include "boot/__enable_mmu.S"
#include "boot/__no_granule_support.S"
#include "boot/init_kernel_el.S"
#include "boot/__secondary_switched.S"
{on}
#include "slot/slot_per_cpu.S"
#include "boot/secondary_load_task.S"
#include "boot/__secondary_too_slow.S"
#include "boot/set_cpu_boot_mode_flag.S"
#include "boot/finalise_el2.S"
#include "boot/secondary_start_kernel.S"
#include "boot/__hyp_stub_vectors.S"
#include "boot/vectors.S"
#include "data/boot_data.S"
        .balign 0x800
my_words:
        .zero 2048
"""

"""A boot path whose look-up is a function that calls functions, on a stack: what an unwinder has to know."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path(__file__).parents[1]
_CALLS = """\
        adr_l   x1, my_stack_top
        mov     sp, x1
        bl      my_lookup
        b       my_done
my_lookup:                                              // keeps X30 in a register
        mov     x28, x30
        bl      my_find
        ret     x28
my_find:                                                // keeps it in a frame record
        stp     x29, x30, [sp, #-32]!
        mov     x29, sp
        str     x21, [sp, #16]
        bl      my_hwid
        mov     x21, x0
        bl      my_scan
        ldr     x21, [sp, #16]
        ldp     x29, x30, [sp], #32
        ret
my_hwid:                                                // a leaf
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1
        ret
my_scan:                                                // its own slot, and two ways to the end
        sub     sp, sp, #16
        str     x30, [sp, #8]
        bl      my_table
        mov     x19, #0
my_next:
        ldr     x3, [x1, x19, lsl #3]
        cmp     x3, x21
        b.eq    my_found
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.ne    my_next
        b       __secondary_too_slow
my_found:
        ldr     x30, [sp, #8]
        add     sp, sp, #16
        ret
my_table:
        adr_l   x1, __cpu_logical_map
        ret
        .balign 16
        .skip   256
my_stack_top:
my_done:
"""


def write_nested(folder: Path) -> Path:
    """Write ``nested.S``, made of examples/my_boot.S, into a folder; return its path."""
    text = (_ROOT / "examples" / "my_boot.S").read_text()
    head, _, rest = text.partition("        mrs     x0, mpidr_el1\n")
    tail = rest.partition("my_found:\n")[2]
    assert tail
    path = folder / "nested.S"
    path.write_text(head + _CALLS + tail)
    return path

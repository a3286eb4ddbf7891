"""Proofs that a loop counts on: what is proved holds when it is run, and plain counters are proved."""

from __future__ import annotations

from random import Random

import pytest
from bare_machine import make, on
from bare_pe import CODE, assemble
from keystone import KsError

from emu.cpu.loops import Loop
from emu.machine import Machine

FAR = 1 << 30  # instructions
SEEDS = 300


def loop_of(machine: Machine, instructions: int) -> Loop | None:
    return machine.spins.loop_of(0, instructions)


def proved(text: str, instructions: int = FAR) -> bool:
    found = loop_of(on(make(text)), instructions)
    assert found is None or found.counts
    return found is not None


COUNTS = {
    "down": "movz x2, #0x100, lsl #32\nl: subs x2, x2, #1\n b.ne l\n b .",
    "up": "mov x2, #0\n movz x3, #0x100, lsl #32\nl: add x2, x2, #4\n cmp x2, x3\n b.lo l\n b .",
    "from below zero": "movn x2, #0, lsl #0\n lsl x2, x2, #40\nl: adds x2, x2, #1\n b.mi l\n b .",
    "signed": "movn x2, #0\n lsl x2, x2, #40\nl: add x2, x2, #1\n cmp x2, #0\n b.lt l\n b .",
    "32 bits": "mov w2, #-1\nl: sub w2, w2, #1\n cbnz w2, l\n b .",
    "odd": "mov x2, #1\nl: add x2, x2, #2\n cbnz x2, l\n b .",
    "a high bit": "mov x2, #0\nl: add x2, x2, #1\n tbz x2, #40, l\n b .",
    "nested": "mov x2, #0\nl: mov x4, #50\nm: subs x4, x4, #1\n b.ne m\n add x2, x2, #1\n"
    " tbz x2, #40, l\n b .",
    "a call": "mov x2, #0\n b l\nf: add x2, x2, #1\n ret\nl: bl f\n tbz x2, #40, l\n b .",
    "a word": "l: ldr x1, [x0]\n add x1, x1, #1\n str x1, [x0]\n b l",
    "a poll": "mov x2, #-1\nl: ldr x1, [x0]\n cbnz x1, m\n subs x2, x2, #1\n b.ne l\nm: b .",
    "other work": "mov x2, #-1\n mov x5, #6\nl: mul x6, x5, x5\n ubfx x7, x6, #2, #3\n and x8, x7, #1\n"
    " cmp x7, #9\n cset x9, lo\n nop\n dsb sy\n subs x2, x2, #1\n b.ne l\n b .",
}


@pytest.mark.parametrize("text", COUNTS.values(), ids=COUNTS)
def test_a_counter_is_proved_to_go_on(text: str) -> None:
    assert proved(text, 1 << 20)


ENDS = {
    "soon enough": ("movz x2, #0x80, lsl #16\nl: subs x2, x2, #1\n b.ne l\n b .", 1 << 24),
    "it gets as high": ("mov x3, #0x100000\nl: add x2, x2, #1\n cmp x2, x3\n b.lo l\n b .", 1 << 22),
    "it gets above": ("mov x3, #0x100000\nl: add x2, x2, #1\n cmp x3, x2\n b.ge l\n b .", 1 << 22),
    "it passes": ("mov x3, #0x100000\nl: add x2, x2, #1\n cmp x2, x3\n b.ne l\n b .", 1 << 22),
    "it steps faster and faster": (
        "mov x3, #0x1000\nl: add x4, x4, #1\n add x2, x2, x4\n cmp x2, x3, lsl #12\n b.lo l\n b .",
        1 << 20,
    ),
    "it wraps": ("mov w2, #0\nl: add w2, w2, #64\n cbnz w2, l\n b .", 1 << 28),
    "a bit of it": ("mov x2, #0\nl: add x2, x2, #1\n lsr x3, x2, #20\n cbz x3, l\n b .", 1 << 22),
    "a low bit": ("mov x2, #0\nl: add x2, x2, #1\n tbz x2, #20, l\n b .", 1 << 22),
    "it is an address": ("l: add x0, x0, #8\n ldr x1, [x0]\n cbz x1, l\n b .", 1 << 20),
    "what it stores ends it": (
        "mov x1, #0\nl: add x1, x1, #1\n str x1, [x0]\n ldrb w2, [x0, #2]\n cbz w2, l\n b .",
        1 << 20,
    ),
    "two meet": (
        "movz x3, #0x100, lsl #16\nl: add x2, x2, #1\n sub x3, x3, #1\n cmp x2, x3\n b.ne l\n b .",
        1 << 26,
    ),
    "it squares": ("mov x2, #1\nl: add x2, x2, #1\n mul x3, x2, x2\n tbz x3, #40, l\n b .", 1 << 24),
    "the sign changes": ("movz x2, #0x7fff, lsl #48\nl: add x2, x2, x4\n cmp x2, #0\n b.gt l\n b .", 1 << 24),
}


@pytest.mark.parametrize(("text", "instructions"), ENDS.values(), ids=ENDS)
def test_a_loop_that_ends_or_may_end_is_not_proved(text: str, instructions: int) -> None:
    machine = on(make(text))
    machine.actors[0].pe.x[4] = 1 << 40
    machine.actors[0].pe.x[2] = 0
    assert loop_of(machine, instructions) is None


_OPERATIONS = (
    "{s}{f} {r}{a}, {r}{b}, #{i}",
    "{s}{f} {r}{a}, {r}{b}, {r}{c}",
    "mov {r}{a}, {r}{b}",
    "movz {r}{a}, #{i}",
    "cmp {r}{a}, {r}{b}",
    "cmn {r}{a}, #{i}",
    "lsr {r}{a}, {r}{b}, #{j}",
    "eor {r}{a}, {r}{b}, {r}{c}",
    "orr {r}{a}, {r}{b}, {r}{c}",
    "madd {r}{a}, {r}{b}, {r}{c}, {r}{a}",
    "csel {r}{a}, {r}{b}, {r}{c}, lo",
    "neg {r}{a}, {r}{b}",
    "add {r}{a}, {r}{b}, {r}{c}, lsl #{j}",
    "ldr {r}{a}, [x0, #{o}]",
    "str {r}{a}, [x0, #{o}]",
    "ldrb w{a}, [x0, #{o}]",
    "strh w{a}, [x0, #{o}]",
    "ldrsw x{a}, [x0, #{o}]",
    "ldp {r}{a}, {r}{b}, [x0, #{o}]",
    "stp {r}{a}, {r}{b}, [x0, #{o}]",
)
_EXITS = ("cbz {r}{a}, o", "cbnz {r}{a}, o", "tbz {r}{a}, #{j}, o", "tbnz {r}{a}, #{j}, o", "b.{c} o")
_CONDITIONS = ("eq", "ne", "hs", "lo", "hi", "ls", "ge", "lt", "gt", "le", "mi", "pl")


def _line(draw: Random, forms: tuple[str, ...]) -> str:
    a = draw.randrange(1, 6)
    b, c = draw.choice((a, draw.randrange(1, 6))), draw.randrange(1, 6)
    return draw.choice(forms).format(
        r=draw.choice("xxxw"), a=a, b=b, c=c,
        s=draw.choice(("add", "sub")), f=draw.choice(("", "s")), i=draw.choice((1, 1, 3, 0xFFF, 0)),
        j=draw.randrange(32), o=8 * draw.randrange(3),
    )  # fmt: skip


_LOOKS, _GOES_ON, _SPAN = 512, 3000, 1500  # instructions


def drawn(seed: int) -> str:
    """A loop of additions mostly, with a few exits; its numbers begin not far from the ends of a width."""
    draw = Random(seed)
    ends = (0, 1 << 8, 1 << 31, 1 << 32, 1 << 63, 1 << 64)
    ends = (draw.choice(ends),) if draw.random() < 0.5 else ends
    begin = [draw.choice(ends) + draw.choice((1, -1, -1, 0)) * draw.randrange(_SPAN) for _ in range(5)]
    text = [f"ldr x{n}, ={value % 2**64:#x}" for n, value in enumerate(begin, 1)]
    forms = _OPERATIONS[:6] if draw.random() < 0.7 else _OPERATIONS
    body = [_line(draw, forms) for _ in range(draw.randrange(1, 4))]
    for _ in range(draw.randrange(1, 3)):
        exits = _EXITS[:4] if draw.random() < 0.4 else (f"b.{draw.choice(_CONDITIONS)} o",)
        if exits[0][1] == ".":
            exits = (
                f"cmp {{r}}{{a}}, {{r}}{{c}}\n {exits[0]}",
                f"{{s}}s {{r}}{{a}}, {{r}}{{a}}, #1\n {exits[0]}",
            )
        body.insert(draw.randrange(len(body) + 1), _line(draw, exits))
    return "\n".join([*text, "l:", *body, "b l", "o: b ."])


def test_what_is_proved_of_drawn_loops_holds_when_they_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each goes on for as many instructions as were asked about."""
    monkeypatch.setattr("emu.machine.spins.AHEAD_MAX", _LOOKS)
    proofs = 0
    for seed in range(SEEDS):
        try:
            text = drawn(seed)
            assemble(text, CODE)
        except (KsError, AssertionError):
            continue  # a pair into one register, an immediate that has no encoding
        machine = on(make(text, instructions_max=_LOOKS + _GOES_ON - 32, record=False))
        machine.spins.looks_for_them = False
        found = loop_of(machine, _GOES_ON)
        if found is not None and found.counts:
            proofs += 1
            machine.run()
            assert machine.stopped, (seed, text)
    assert proofs >= SEEDS // 15

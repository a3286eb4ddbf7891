"""Odd lines for the commands of ``emu step``: each of the table, with arguments of its usage, and others.

A command that is added has lines at once. What they may name: the files that :func:`write_files` writes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from emu.debug.commands import _ENTRIES, Commands, GoBack, Quit
from emu.errors import EmuError


def _apart(text: str, separator: str | None = None) -> list[str]:
    return [word.strip() for word in text.split(separator)]


_NINES = "9" * 5000  # Python reads 4,300 digits
_NUMBERS = _apart("""
    0 1 2 3 9 64 4096 65536 0x 0x10 1e9 1.5 -1 -0x1 #2 ##2 0b11 010 1_0 \u0663 \u00b2 10000000 2147483648
    0x100000000 9223372036854775808 18446744073709551615 18446744073709551616 -18446744073709551616
""")
_NUMBERS += ["", "- 1", _NINES, f"-{_NINES}"]
_PLACES = _apart("""
    secondary_entry secondary_entry+4 secondary_entry+2 secondary_start_kernel boot_cpu nowhere
    nowhere+4 v3.S:24 v3.S:0 v3.S:18446744073709551616 :1 0x40200000 0x0 0x40200002
    0xffffffffffffffff 0xffffffffffffffff0 *0 _text secondary_entry+18446744073709551616
    0xffff800080000000 write_pen_release smp_init
""")
_PLACES += [f"v3.S:{_NINES}", f"secondary_entry+{_NINES}"]
_DATA = _apart("""
    __boot_cpu_mode __cpu_logical_map[2] cpu_boot_data[3].task cpu_boot_data[3].nothing ap_sync_state[1]
    ap_sync_state[99] cpu_boot_data[18446744073709551616].task cpu_boot_data[-1] linux_banner 0x40200001
    0x3fffffff
""")
_DATA += [f"cpu_boot_data[{_NINES}]", f"__boot_cpu_mode+{_NINES}", _NINES]
_EXPRESSIONS = _apart(
    """x0, X0, x31, sp, pc, el, hwid, 1 / 0, 1 // 0, 1 % 0, 1 << 64, 1 << -1, 2 ** 2 ** 2 ** 99, ~1, +1,
    1 if 1 else 2, not not 1, 1 < 2 < 3, a.b.c, (), [], lambda: 1, f'{1}', 'a', 1j, None, True, print(1),
    u8[0xffffffffffffffff], SCTLR_EL1, sctlr_el1.m, SCTLR_EL1.NONE, NONE_EL1, u128[0], x0 := 1, 1 in x0,
    [cpu_boot_data] + [sp], 1; 2, x0 = 1 = 2, hwid(1), u32[__boot_cpu_mode], x0 x1, x0 ==, [1:2]""",
    ",",
)
_EXPRESSIONS += ["[" * 90 + "0" + "]" * 90, "(" * 90 + "0" + ")" * 90, "-" * 150 + "1", "not " * 45 + "1"]
_TEXTS = _apart(
    "a %s%n {0} \\ ' \" \x00 a\x00b \x1b[2J \u00e9 \U0001f600 * [!] ../../etc ~nobody/x --all cpu if size"
)
_TEXTS += ["", "\t", "cpu 1 cpu 2", "all", "none", "=", "= ="]
_MILLION = 1_000_000
_LONG = ["1" + "+1" * _MILLION, *(letter * _MILLION for letter in "x[-9"), "x" + " " * _MILLION + "y"]
_LONG += ["[" * 8000, "x" + " " * 8000 + "y", "*a" * 4000, "x0 =" * 2000]  # as long as a line may be
_WORDS: Mapping[str, Sequence[str]] = {
    "N": _NUMBERS,
    "POSITION": _NUMBERS,
    "PLACE": _PLACES,
    "DATA": _DATA,
    "REGISTER": _apart("x0 x31 sp pc nzcv SCTLR_EL1 SCTLR_EL1.M MPIDR_EL1 ESR_EL2.ISS DAIF"),
    "PATTERN": [*_apart("* *_EL2 [ [! ? SCTLR*"), "*" * 1000],
    "FILE": [*_apart("good itself each other folder binary missing quits wrong nul back"), ""],
    "TEXT": _TEXTS,
}
_OPTIONAL = re.compile(r"(?<![^\s\[|])\[|\](?=[\s\]]|$)")  # brackets of the usage, not those of u32[ADDRESS]
_NAMED = re.compile(r"\b[A-Z]+\b")


def write_files(folder: Path) -> None:
    """Write the files that ``source`` gets."""
    (folder / "folder").mkdir()
    for name, text in {
        "good": "# nothing\nwhere\n",
        "itself": "source itself\n",
        "each": "source other\n",
        "other": "where\nsource each\n",
        "quits": "quit\nnonsense\n",
        "wrong": "where\nnonsense\n",
        "nul": "print \0\n",
        "back": "step 3\ngoto 0\nstep\n",
    }.items():
        (folder / name).write_text(text)
    (folder / "binary").write_bytes(bytes(range(256)) * 16)


def odd_lines(rng: random.Random, count: int) -> Iterator[str]:
    """Yield so many lines for each command of the table, and some that name none."""
    for entry in _ENTRIES:
        for _ in range(count):
            yield f"{rng.choice(entry.names)} {_arguments(rng, entry.usage)}".rstrip(" ")
    yield from ("", " ", "nonsense", "0", "#", "stepstep", "\x00", "x" * _MILLION, " ".join(_TEXTS))


def _arguments(rng: random.Random, usage: str) -> str:
    drawn = [
        _drawn(rng, rng.choice(slot.split("|")))
        for slot in _OPTIONAL.sub("", usage).split()
        if rng.random() < 0.8
    ]
    if rng.random() < 0.25:
        drawn.insert(rng.randrange(len(drawn) + 1), _odd(rng))
    if rng.random() < 0.15:
        drawn.append(f"cpu {rng.choice((*_NUMBERS, 'all', 'x'))}")
    return " ".join(drawn)


def _drawn(rng: random.Random, word: str) -> str:
    if rng.random() < 0.2:
        return _odd(rng)
    return _NAMED.sub(lambda match: rng.choice(_WORDS.get(match[0], _EXPRESSIONS)), word)


def _odd(rng: random.Random) -> str:
    if rng.random() < 0.02:
        return rng.choice(_LONG)
    return rng.choice(rng.choice((_NUMBERS, _PLACES, _DATA, _EXPRESSIONS, _TEXTS)))


def outcome(commands: Commands, line: str) -> list[str] | None:
    """Run a line; return what it said, of one that goes back nothing; None: it is refused, in one line.

    :raises Exception: anything else
    """
    try:
        return commands.run(line)
    except EmuError as refused:
        if len(f"{refused}".splitlines()) != 1:
            raise AssertionError(f"{line:.200}: {refused!r:.500}") from None
        return None
    except (GoBack, Quit):
        return []

"""Every fragment opens with its contract, and its registers keep to it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from capstone import CS_ARCH_ARM64, CS_MODE_ARM, Cs

from emu.designs import DESIGNS, Design
from emu.subject.fragment import asm_dir

FIELDS = ("in", "out", "clobbers", "memory", "state", "exits", "model", "source")
FRAGMENTS = sorted(asm_dir().rglob("*.S"))
INCLUDES = sorted(asm_dir().rglob("*.inc"))

REGISTER_NUMBER = {f"{size}{number}": number for size in "xw" for number in range(31)} | {"fp": 29, "lr": 30}


def name_of(path: Path) -> str:
    return path.relative_to(asm_dir()).as_posix().removesuffix(".S")


def entry_of(fragment: str) -> str:
    """A lookup is entered at find whatever it is called; every other file at the symbol it is named after."""
    folder, _, name = fragment.rpartition("/")
    return "find" if folder == "lookup" else name


@cache
def header(path: Path) -> dict[str, str]:
    """Return the contract fields of a file, and its first line as ``title``."""
    comment = path.read_text().split("*/", 1)[0]
    lines = [line.removeprefix("/*").removeprefix(" *").strip() for line in comment.splitlines()]
    fields, current = {"spdx": lines[0], "title": lines[1]}, ""
    for line in lines[3:]:
        match = re.match(r"([a-z]+): +(.*)", line)
        if match and match[1] in FIELDS:
            current = match[1]
            assert current not in fields, f"{current} appears twice"
            fields[current] = match[2]
        elif current:
            fields[current] += " " + line
    return fields


def registers(text: str) -> set[int]:
    """Return the general registers a contract field names, such as "x1-x5, x19"."""
    found: set[int] = set()
    for first, last in re.findall(r"\b[xw](\d+)(?:-x(\d+))?", text):
        found |= set(range(int(first), int(last or first) + 1))
    return found


@pytest.mark.parametrize("path", FRAGMENTS, ids=name_of)
def test_fragment_opens_with_licence_and_eight_contract_fields(path: Path) -> None:
    """STYLE: `none` is an answer, silence is not."""
    fields = header(path)
    assert fields["spdx"] == "SPDX-License-Identifier: GPL-2.0-or-later"
    assert [name for name in fields if name in FIELDS] == list(FIELDS), "all eight, in this order"
    assert all(fields[name].strip() for name in FIELDS)


@pytest.mark.parametrize("path", FRAGMENTS, ids=name_of)
def test_fragment_is_entered_at_the_symbol_its_file_is_named_after(path: Path) -> None:
    """The first label, the title and .size all name the entry symbol."""
    entry, text = entry_of(name_of(path)), path.read_text()
    assert header(path)["title"].split(" - ")[0] == entry
    assert re.findall(r"^([\w.]+):", text, re.MULTILINE)[0] == entry
    assert f".size   {entry}, . - {entry}\n" in text


@pytest.mark.parametrize("path", INCLUDES, ids=lambda path: path.name)
def test_include_names_its_licence(path: Path) -> None:
    """An include has no contract of its own, but a licence."""
    assert path.read_text().startswith("/* SPDX-License-Identifier: GPL-2.0-or-later\n")


@pytest.mark.parametrize("path", [path for path in FRAGMENTS if path.parent.name == "lookup"], ids=name_of)
def test_lookup_has_the_three_labels_of_its_contract(path: Path) -> None:
    """find is the entry, found has the index in place, missing is where an unknown CPU ends."""
    labels = re.findall(r"^(\w+):", path.read_text(), re.MULTILINE)
    assert {"find", "found", "missing"} <= set(labels)


@pytest.mark.parametrize("path", FRAGMENTS, ids=name_of)
def test_fragment_has_no_numeric_label(path: Path) -> None:
    """Every place where a user may want to stop has a name."""
    assert not re.search(r"^\s*\d+:", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("design", DESIGNS.values(), ids=lambda design: design.name)
def test_fragment_writes_no_register_that_its_header_does_not_list(design: Design) -> None:
    """Its own instructions, and those of what it calls, stay within `out` and `clobbers`."""
    subject = design.load(8)
    segment = subject.segments[0]
    code = [fragment for fragment in design.fragments if fragment.split("/")[0] in ("boot", "lookup", "slot")]
    starts = [subject.pa(entry_of(fragment)) for fragment in code]
    assert starts == sorted(starts)
    allowed: dict[str, set[int]] = {}
    flags: dict[str, bool] = {}
    for fragment in code:
        fields = header(asm_dir() / f"{fragment}.S")
        listed = fields["clobbers"] + " " + fields["out"]
        allowed[entry_of(fragment)] = registers(listed)
        flags[entry_of(fragment)] = "NZCV" in listed
    decoder = Cs(CS_ARCH_ARM64, CS_MODE_ARM)
    decoder.detail = True
    for fragment, start, end in zip(code, starts, [*starts[1:], subject.pa("boot_data")], strict=True):
        entry = entry_of(fragment)
        for instruction in decoder.disasm(segment.data[start - segment.pa : end - segment.pa], start):
            where = f"{subject.symbols.describe(instruction.address + subject.va_offset)}: {instruction}"
            written = {instruction.reg_name(register) for register in instruction.regs_access()[1]}
            compares = instruction.mnemonic in ("cmp", "cmn", "tst", "ccmp")  # Capstone: "writes" its operand
            numbers = {REGISTER_NUMBER[name] for name in written & REGISTER_NUMBER.keys() if not compares}
            if instruction.mnemonic == "bl":
                target = subject.symbols.describe(instruction.operands[0].imm + subject.va_offset)
                numbers |= allowed[target] | {30}
                assert flags[entry] >= flags[target], f"{where}: {target} changes NZCV"
            assert numbers <= allowed[entry], f"{where} writes {numbers - allowed[entry]}"
            changes_flags = "nzcv" in written or instruction.update_flags
            assert flags[entry] or not changes_flags, f"{where} changes NZCV"

"""Flat text by way of a relocatable object: what GNU as, clang and zig make of it.

Each label and each instruction gets one more label, since a symbol table has no names that start with ``.L``.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from emu.arch.boot import IMAGE_PA
from emu.errors import AssemblyError, EmuError
from emu.subject.assemblers import Assembled
from emu.subject.assemblers.tool import Tool
from emu.subject.assembly_text import Flat
from emu.subject.object import link
from emu.subject.object_file import ObjectFile
from emu.subject.toolchain import ToolFailed, call

_ERROR = re.compile(r"t\.s:(\d+):(?:\d+:)?\s*(?:fatal )?error:\s*(.*)", re.IGNORECASE)


def assemble_flat(tool: Tool, flat: Flat, externals: Mapping[str, int]) -> Assembled:
    """Return what a program makes of a flat text; as :func:`emu.subject.assembler.assemble`.

    :raises AssemblyError: FILE:LINE and the program's reason
    """
    rows = list(_rows(flat, externals))
    data = _object(tool, flat, rows)
    try:
        file = ObjectFile(data, tool.name)
        if not any(section.is_loaded for section in file.sections):
            return Assembled(b"", dict.fromkeys(flat.labels, IMAGE_PA), [None] * len(flat.lines))
        subject = link(data, tool.name, absolute="pa")
    except EmuError as error:
        raise _does_not_link(flat, error) from None
    # The text is one section, so that is where IMAGE_PA is.
    places = {symbol.name: IMAGE_PA + symbol.value for symbol in file.symbols}
    labels = {name: places[f"emu.label.{number}"] for number, name in enumerate(flat.labels)}
    lines = [places.get(f"emu.line.{number}") for number in range(len(flat.lines))]
    return Assembled(subject.segments[0].data, labels, lines)


def _rows(flat: Flat, externals: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    # Lines of the text that the program reads, and of which line of the flat text each is.
    numbers = {f"{name}:": number for number, name in enumerate(flat.labels)}
    yield ".text", 0
    yield ".Lfirst_byte:", 0
    for name, pa in externals.items():
        yield f".set {name}, .Lfirst_byte + ({pa - IMAGE_PA:#x})", 0
    for index, line in enumerate(flat.lines):
        if line.is_instruction:
            yield f"emu.line.{index}:", index
        elif line.text in numbers:
            yield f"emu.label.{numbers[line.text]}:", index
        yield line.text, index


def _object(tool: Tool, flat: Flat, rows: list[tuple[str, int]]) -> bytes:
    command = [
        *tool.command,
        *(["-c", "-x", "assembler", "-g0"] if tool.compiles else []),
        "-o",
        "t.o",
        "t.s",
    ]
    try:
        with tempfile.TemporaryDirectory(prefix="emu-asm-") as name:
            work = Path(name)
            (work / "t.s").write_text("".join(f"{text}\n" for text, _ in rows), encoding="utf-8")
            said, status = call(command, work)
            if status == 0:
                with suppress(OSError):
                    return (work / "t.o").read_bytes()
    except ToolFailed as failed:
        raise flat.lines[0].error(str(failed)) from None
    for match in map(_ERROR.search, said.splitlines()):
        if match:
            raise flat.lines[rows[int(match[1]) - 1][1]].error(match[2])
    raise flat.lines[0].error(f"{tool.name} ended with status {status} and said nothing of a line")


def _does_not_link(flat: Flat, error: EmuError) -> AssemblyError:
    # The error of the first line that has a symbol which is not defined, else of the first line.
    undefined = getattr(error, "undefined", ())
    for line in flat.lines if undefined else ():
        words = set(re.findall(r"[A-Za-z_.$][\w.$]*", line.text))
        if name := next((name for name in undefined if name in words), None):
            found = line.error(f"symbol {name} is not defined")
            found.undefined = undefined
            return found
    return flat.lines[0].error(str(error))

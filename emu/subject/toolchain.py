"""Assemble a file as it is written, when its flat text is refused: with the first program that accepts it.

The program gets the include folders and constants that flat text gets (:mod:`emu.subject.fragment`); the
constants are macros of the C preprocessor and symbols of the assembler. :mod:`emu.subject.object` lays its
object out and relocates it.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from emu.errors import AssemblyError, EmuError
from emu.subject import Subject
from emu.subject.assemblers import ASSEMBLERS
from emu.subject.assemblers.tool import Tool
from emu.subject.assembly_source import included_texts, read
from emu.subject.object import link

TOOL_SECONDS_MAX = 30  # an assembler takes 0.1 s; no result depends on this number
OUTPUT_BYTES_MAX = 256 << 20  # ".zero 1 << 40" must end the tool, not the disk

_ASSIGNED = re.compile(r"\.(?:equ|equiv|eqv|set|ifn?def|ifnotdef)\s+([\w.$]+)|^\s*([\w.$]+)\s*=", re.M)
_CONDITION = re.compile(r"^\s*#\s*(?:el)?if.*", re.M)
_ERROR = re.compile(r"(.*?:\d+|.*?):(?:\d+:)?\s*((?:fatal )?error:.*)", re.IGNORECASE)
_SHOWN_CHARS_MAX = 300


def find_tools() -> tuple[list[Tool], list[str]]:
    """Return the programs that are installed, in their order, and what to install for the others.

    Keystone is neither: it has no sections and no preprocessor.
    """
    found: list[Tool] = []
    missing = []
    for assembler in ASSEMBLERS.values():
        here = assembler.find()
        if isinstance(here, Tool):
            found.append(here)
        elif here is None and assembler.order:
            missing.append(assembler.install)
    return found, missing


def assemble_elsewhere(
    path: Path,
    refused: AssemblyError,
    *,
    by: str,
    constants: Mapping[str, int],
    symbols: Mapping[str, int],
    include_dirs: Sequence[Path],
) -> Subject:
    """Return the Subject from the first program that accepts a text whose flat form was refused.

    :param refused: the error, ``FILE:LINE: reason``
    :param by: the assembler whose error it is
    :param constants: signed 64-bit values, known to the preprocessor and to the assembler
    :param symbols: u64 values of symbols that the text leaves undefined
    :param include_dirs: searched after the file's own folder
    :raises AssemblyError: ``refused``, then the error of each assembler and the names of those not found
    """
    tools, missing = find_tools()
    tried, undefined = [], refused.undefined
    for tool in tools:
        try:
            data = _run(tool, path, constants, include_dirs)
        except ToolFailed as failed:
            tried.append(f"{tool.name}: {failed}")
            continue
        try:
            subject = link(data, str(path), symbols, absolute="pa")  # as with Keystone
        except EmuError as error:
            undefined = getattr(error, "undefined", ())
            tried.append(f"{tool.name}: {error}")
            break  # the text does not link: another assembler changes nothing
        return replace(subject, assembler=tool.name)
    where, reason = _split(str(refused))
    # What a program says of the file as it is written counts more than what it says of the flat text.
    said = [] if by in (tool.name for tool in tools) else [f"{by}: {reason}"]
    parts = [f"{where}: {'; '.join([*said, *tried])}"]
    if missing and len(tried) == len(tools):
        parts.append(f"not installed: {', '.join(missing)}")
    combined = AssemblyError("; ".join(parts))
    combined.undefined = undefined
    raise combined from refused


class ToolFailed(Exception):
    """A tool wrote no object; the message is its reason on one line."""


def _split(message: str) -> tuple[str, str]:
    # FILE:LINE and the reason behind it.
    match = re.match(r"(.*?:\d+): (.*)", message, re.S)
    assert match is not None, f"an AssemblyError without a line: {message}"
    return match[1], match[2]


def _run(tool: Tool, path: Path, constants: Mapping[str, int], include_dirs: Sequence[Path]) -> bytes:
    # The object's bytes.
    source, folders = path.resolve(), [path.resolve().parent, *include_dirs]
    with tempfile.TemporaryDirectory(prefix="emu-asm-") as name:
        work = Path(name)
        if tool.compiles:
            command = [*tool.command, "-c", "-x", "assembler-with-cpp"]
            command += [*_definitions(source, constants, folders), "-g0"]
            # __FILE__ must not depend on the folder.
            command += [f"-ffile-prefix-map={source.parent}/=", *(f"-I{folder}" for folder in folders)]
            command += ["-o", "t.o", str(source)]
        else:
            # GNU as uses -I for .include only. Line markers in the text name the origin of each line.
            (work / "t.s").write_text(_with_origins(path, include_dirs), encoding="utf-8")
            command = [*tool.command, *(f"--defsym={name}={value}" for name, value in constants.items())]
            command += [f"-I{folder}" for folder in folders] + ["-o", "t.o", "t.s"]
        said, status = call(command, work)
        if status == 0:
            with suppress(OSError):
                return (work / "t.o").read_bytes()
            raise ToolFailed("made no object")
    raise ToolFailed(_reason(said, status, source, path, include_dirs))


def _definitions(source: Path, constants: Mapping[str, int], folders: Sequence[Path]) -> Iterator[str]:
    # A name that the text uses in an assembler directive (.equ NAME, .ifdef NAME) must not be a macro, unless
    # a preprocessor conditional tests it as well.
    texts = list(included_texts(source, folders))
    assigned = {name for text in texts for pair in _ASSIGNED.findall(text) for name in pair if name}
    asked = {word for text in texts for line in _CONDITION.findall(text) for word in re.findall(r"\w+", line)}
    for name, value in constants.items():
        if name not in assigned or name in asked:
            yield f"-D{name}={value}" if value >= 0 else f"-D{name}=({value})"
        yield f"-Wa,-defsym,{name}={value}"  # one dash: both GNU as and every clang accept it
    yield "-D__ASSEMBLY__"  # the kernel's makefiles define it too


def _with_origins(path: Path, include_dirs: Sequence[Path]) -> str:
    # The statements with includes resolved, each after a line marker that GNU as understands.
    try:
        lines = read(path, str(path), include_dirs, set())
    except AssemblyError as error:
        raise ToolFailed(f"has no preprocessor: {_split(str(error))[1]}") from None
    return "".join(f'# {line.number} "{line.file}"\n{line.text}\n' for line in lines)


def call(command: Sequence[str], work: Path) -> tuple[str, int]:
    """Run a program in its own folder, and return its output and exit status.

    Messages are in English, the date is 1970, caches are deleted with ``work``.

    :raises ToolFailed: it does not start, or gives no answer
    """
    caches = {name: str(work / "cache") for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}
    environment = {**os.environ, **caches, "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0", "TMPDIR": str(work)}
    try:
        child = subprocess.Popen(
            command,
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a compiler driver has children, which end with it
            preexec_fn=_limit_output,
        )
    except OSError as error:
        raise ToolFailed(f"does not start: {error.strerror}") from None
    with child:
        try:
            said, _ = child.communicate(timeout=TOOL_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            raise ToolFailed(f"gave no answer within {TOOL_SECONDS_MAX} s") from None
    return said.decode("utf-8", "replace"), child.returncode


def _limit_output() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX))


def _reason(said: str, status: int, source: Path, path: Path, include_dirs: Sequence[Path]) -> str:
    # The first error as FILE:LINE: Error: ..., else the last line; files have the names that the user gave.
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = (match for line in lines if (match := _ERROR.match(line)))
    first = next(errors, None)
    ended = f"ended with signal {-status}" if status < 0 else f"ended with status {status}"
    text = f"{first[1]}: {first[2]}" if first else f"{lines[-1]} ({ended})" if lines else ended
    text = text.replace(str(source), str(path))
    for folder in include_dirs:
        if folder.name == "asm":
            text = text.replace(f"{folder}{os.sep}", "asm/")
    printable = "".join(char if char.isprintable() else "?" for char in text)
    return printable if len(printable) <= _SHOWN_CHARS_MAX else f"{printable[:_SHOWN_CHARS_MAX]}..."

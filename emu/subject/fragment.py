"""Assembly text as a Subject: our own fragments from asm/, or a user's .S file.

The text is made flat here (see :mod:`emu.subject.assembly_text`), assembled by Keystone in a child process
and kept in a cache on disk, because a cold start must not pay for the assembler.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from emu.arch import boot, mpidr
from emu.errors import AssemblyError, InvalidCase
from emu.subject import Segment, Subject
from emu.subject.assembly_text import Flat, Line, flatten, read
from emu.subject.symbols import Symbols

CACHE_FORMAT = 1  # part of the key: raise it when the meaning of an entry changes
CHILD_SECONDS_MAX = 20  # a hung assembler is a bug of the assembler; no run depends on this number

_U64 = 2**64
_assembled: dict[str, tuple[bytes, dict[str, int]]] = {}


def asm_dir() -> Path:
    """Return the folder of our fragments: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "asm", package.parent / "asm"):
        if (folder / "include").is_dir():
            return folder
    raise AssemblyError(f"{package / 'asm'}:1: no such folder; install the package again")


def constants(nr_cpus: int, defines: Mapping[str, int] = MappingProxyType({})) -> dict[str, int]:
    """Return every constant that assembly text may use: the boot ABI, NR_CPUS and ``defines``.

    :param nr_cpus: CONFIG_NR_CPUS, 1..4096
    :return: signed 64-bit values by name, ``defines`` last so that it may override
    :raises InvalidCase: a value out of range
    """
    if not 1 <= nr_cpus <= boot.NR_CPUS_MAX:
        raise InvalidCase(
            f"nr_cpus={nr_cpus}: NR_CPUS is 1..{boot.NR_CPUS_MAX} on arm64; pass a number in it"
        )
    values = {name: value for name, value in vars(boot).items() if name.isupper() and isinstance(value, int)}
    values |= {"MPIDR_HWID_BITMASK": mpidr.MPIDR_HWID_BITMASK, "INVALID_HWID": mpidr.INVALID_HWID}
    values |= {"NR_CPUS": nr_cpus, **defines}
    for name, value in values.items():
        if not -(2**63) <= value < _U64:
            raise InvalidCase(f"defines[{name}]={value:#x}: a constant has 64 bits; pass one that fits")
    return {name: (value + 2**63) % _U64 - 2**63 for name, value in values.items()}


def constants_include(nr_cpus: int, defines: Mapping[str, int] = MappingProxyType({})) -> str:
    """Return :func:`constants` as ``.equ`` lines, for an assembler other than ours."""
    return "".join(
        f"        .equ    {name}, {value}\n" for name, value in constants(nr_cpus, defines).items()
    )


def load_design(
    fragments: Sequence[str],
    *,
    name: str,
    nr_cpus: int,
    defines: Mapping[str, int] = MappingProxyType({}),
) -> Subject:
    """Assemble fragments of asm/, in order and without padding, at IMAGE_PA.

    :param fragments: paths below asm/ without suffix, such as ``boot/secondary_entry``
    :param nr_cpus: CONFIG_NR_CPUS, 1..4096
    :param defines: further constants, as if by ``.equ``
    :raises InvalidCase: no such fragment, or nr_cpus out of range
    :raises AssemblyError: FILE:LINE and the assembler's reason
    """
    values = constants(nr_cpus, defines)
    return _subject(name, flatten(design_lines(fragments), values), values, defines)


def design_lines(fragments: Sequence[str]) -> list[Line]:
    """Return the statements of a list of fragments, includes resolved, nothing expanded yet."""
    root = asm_dir()
    lines: list[Line] = []
    seen: set[Path] = set()
    for item in fragments:
        path = next(
            (root / (item + suffix) for suffix in (".S", ".inc") if (root / (item + suffix)).is_file()), None
        )
        if path is None or ".." in Path(item).parts:
            raise InvalidCase(f"fragment={item}: no asm/{item}.S; name a file below asm/ without its suffix")
        if path.suffix == ".inc":
            seen.add(path.resolve())
        lines += read(path, f"asm/{path.relative_to(root)}", [root / "include"], seen)
    return lines


def load_source(path: Path, *, nr_cpus: int, defines: Mapping[str, int] = MappingProxyType({})) -> Subject:
    """Assemble a user's .S file at IMAGE_PA.

    Includes are looked for beside the file, then in asm/include. The constants of the boot ABI and NR_CPUS
    are defined beforehand. A name in ``defines`` is also an absolute symbol that ``adr`` and branches reach.

    :param nr_cpus: CONFIG_NR_CPUS, 1..4096
    :raises InvalidCase: nr_cpus out of range
    :raises AssemblyError: FILE:LINE and the assembler's reason
    """
    values = constants(nr_cpus, defines)
    lines = read(path, str(path), [asm_dir() / "include"], set())
    return _subject(path.name, flatten(lines, values), values, defines)


def _subject(name: str, flat: Flat, values: Mapping[str, int], defines: Mapping[str, int]) -> Subject:
    externals = {key: value % _U64 for key, value in defines.items() if key not in flat.labels}
    code, addresses = _cached(flat, externals)
    if not code:
        raise AssemblyError(f"{name}:1: no instruction and no data in it")
    symbols = {
        label: (pa + boot.VA_OFFSET) % _U64 for label, pa in addresses.items() if not label.startswith(".L")
    }
    return Subject(
        name=name,
        identity=hashlib.sha256(code).hexdigest()[:16],
        segments=(Segment(boot.IMAGE_PA, code, len(code)),),
        symbols=Symbols.of(symbols),
        va_offset=boot.VA_OFFSET,
        defines=MappingProxyType(dict(values)),
    )


def _cached(flat: Flat, externals: Mapping[str, int]) -> tuple[bytes, dict[str, int]]:
    # Assembled bytes and label PAs, from this process, the disk, or the assembler.
    what = [
        CACHE_FORMAT,
        metadata.version("keystone-engine"),
        boot.IMAGE_PA,
        flat.text,
        sorted(externals.items()),
    ]
    key = hashlib.sha256(json.dumps(what).encode()).hexdigest()
    if key not in _assembled:
        path = cache_dir() / f"{key}.json"
        found = _read_cache(path)
        if found is None:
            found = _assemble(flat, externals)
            _write_cache(path, found)
        _assembled[key] = found
    return _assembled[key]


def cache_dir() -> Path:
    """Return the folder of assembled text below the user's cache directory; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "emu" / "asm"


def _read_cache(path: Path) -> tuple[bytes, dict[str, int]] | None:
    # A missing or damaged entry is no entry.
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        code = base64.b64decode(entry["code"], validate=True)
        symbols = {str(name): int(pa) for name, pa in entry["symbols"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return (code, symbols) if hashlib.sha256(code).hexdigest() == entry.get("sha256") else None


def _write_cache(path: Path, found: tuple[bytes, dict[str, int]]) -> None:
    # A cache that cannot be written costs time only.
    code, symbols = found
    entry = {
        "sha256": hashlib.sha256(code).hexdigest(),
        "code": base64.b64encode(code).decode(),
        "symbols": symbols,
    }
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(entry, file)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)


def _assemble(flat: Flat, externals: Mapping[str, int]) -> tuple[bytes, dict[str, int]]:
    texts = [line.text for line in flat.lines]
    answer, _, reason = _child("assemble", texts, externals, flat.labels)
    if answer is not None and "code" in answer:
        code = base64.b64decode(answer["code"])
        return code, dict(zip(flat.labels, answer["addresses"], strict=True))
    raise _diagnose(flat, externals, answer, reason)


def _child(
    job: str, lines: Sequence[str], externals: Mapping[str, int], labels: Sequence[str] = ()
) -> tuple[dict[str, Any] | None, list[str], str]:
    # The answer or None after a crash, the lines printed before it, and how it ended.
    request = {
        "job": job,
        "address": boot.IMAGE_PA,
        "lines": list(lines),
        "labels": list(labels),
        "externals": dict(externals),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "emu.subject.keystone_child"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=CHILD_SECONDS_MAX,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, [], f"no answer from Keystone within {CHILD_SECONDS_MAX} s"
    printed = done.stdout.splitlines()
    if done.returncode == 0 and printed:
        answer: dict[str, Any] = json.loads(printed.pop())
        return answer, printed, ""
    said = [line for line in done.stderr.splitlines() if line.strip()]
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
    return None, printed, f"{said[-1].strip() if said else 'no message'} (Keystone ended with {how})"


def _diagnose(
    flat: Flat, externals: Mapping[str, int], answer: dict[str, Any] | None, reason: str
) -> AssemblyError:
    # Keystone names no line: try each line alone, then undefined symbols, then the shortest bad beginning.
    texts = [line.text for line in flat.lines]
    alone, printed, crash = _child("check", texts, externals)
    if alone is None and printed:
        return flat.lines[int(printed[-1])].error(crash)
    if alone is not None and alone["bad"] is not None:
        return flat.lines[alone["bad"]].error(alone["error"])
    for name in answer["undefined"] if answer else ():
        for line in flat.lines:
            if name in line.text.replace(",", " ").replace("]", " ").split():
                return line.error(f"symbol {name} is not defined")
    return _first_bad_beginning(flat, externals, answer["error"] if answer else reason)


def _first_bad_beginning(flat: Flat, externals: Mapping[str, int], reason: str) -> AssemblyError:
    # Instructions behind the cut become nop: the layout stays, so the smallest bad cut ends at the culprit.
    texts = [line.text for line in flat.lines]
    code = [i for i, text in enumerate(texts) if not text.startswith(".") and not text.endswith(":")]

    def bad(cut: int) -> bool:
        blank = set(code[cut:])
        lines = ["nop" if i in blank else text for i, text in enumerate(texts)]
        answer, _, _ = _child("assemble", lines, externals, flat.labels)
        return answer is None or "code" not in answer

    if not code or bad(0):
        return flat.lines[0].error(f"{reason}; somewhere behind this line")
    low, high = 0, len(code)  # good with `low` real instructions, bad with `high`
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if bad(middle) else (middle, high)
    return flat.lines[code[high - 1]].error(reason)

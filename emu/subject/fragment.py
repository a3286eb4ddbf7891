"""Assembly text as a Subject: our own fragments from asm/, or a user's .S file.

:mod:`emu.subject.assembly_text` flattens the text and :mod:`emu.subject.assembler` assembles it for IMAGE_PA.
Each label becomes a symbol at its VA. Objects and other assemblers are imported when there is work for them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType

from emu.arch import boot, mpidr
from emu.errors import AssemblyError, InvalidCase, InvalidSubject
from emu.subject import Segment, Subject
from emu.subject.assembly_source import Statement, included_texts, read
from emu.subject.assembly_text import Flat, flatten
from emu.subject.lines import Lines
from emu.subject.symbols import Symbols

_U64 = 2**64
_LABEL = re.compile(r"([A-Za-z_.$][\w.$]*):")


def asm_dir() -> Path:
    """Return the folder of the fragments: beside the package in a checkout, inside it when installed."""
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
    return _assembled(name, tuple(design_lines(fragments)), nr_cpus, tuple(defines.items()))


# The text is read each time, since it may have changed; what the same text gives is kept. Campaigns and
# explorations load a design many times, and to flatten it takes longer than a boot of a few CPUs.
@lru_cache(maxsize=32)
def _assembled(
    name: str, lines: tuple[Statement, ...], nr_cpus: int, defines: tuple[tuple[str, int], ...]
) -> Subject:
    values = constants(nr_cpus, dict(defines))
    return _subject(name, flatten(lines, values), values, dict(defines))


def design_lines(fragments: Sequence[str]) -> list[Statement]:
    """Return the statements of a list of fragments, with includes resolved and macros not yet expanded."""
    root = asm_dir()
    lines: list[Statement] = []
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
    """Assemble a user's .S file at IMAGE_PA: its flat text, else the file with an assembler that accepts it.

    Includes are searched beside the file, then in asm/include and asm/, so that a file can include fragments
    of asm/. The constants of the boot ABI and NR_CPUS are defined before the text. A name in ``defines`` is
    also an absolute symbol that ``adr`` and branches reach, unless the text has a label of that name. Where
    the file is assembled as it is written, the name is one of the two: a symbol when its value is an address
    near the text, else a constant. The value of a label is its PA: ``.quad label`` and ``ldr x0, =label``
    yield the PA, ``label + VA_OFFSET`` the VA.

    :param nr_cpus: CONFIG_NR_CPUS, 1..4096
    :raises InvalidCase: nr_cpus out of range
    :raises InvalidSubject: the file cannot be read
    :raises AssemblyError: FILE:LINE and the reason of every assembler that was tried
    """
    values, include_dirs = constants(nr_cpus, defines), [asm_dir() / "include", asm_dir()]
    try:
        path.open("rb").close()
    except OSError as error:
        raise InvalidSubject(f"{path}: {error.strerror}") from None
    try:
        lines = read(path, str(path), include_dirs, set())
        own = {match[1] for line in lines if (match := _LABEL.match(line.text))} & set(defines)
        values = {name: value for name, value in values.items() if name not in own}
        others = {name: value for name, value in defines.items() if name not in own}
        return _subject(path.name, flatten(lines, values), values, others)
    except AssemblyError as refused:
        if refused.__cause__ is not None:  # a file that cannot be read: not a matter of assemblers
            raise
        symbols = {name: value % _U64 for name, value in defines.items() if _is_near(value)}
        numbers = {name: value for name, value in values.items() if name not in symbols}
        from emu.subject.assembler import chosen
        from emu.subject.toolchain import assemble_elsewhere

        subject = assemble_elsewhere(
            path, refused, by=chosen().name, constants=numbers, symbols=symbols, include_dirs=include_dirs
        )
        return replace(subject, defines=MappingProxyType(dict(values)))


def _is_near(value: int) -> bool:
    # In the memory that a branch reaches from the text, at its PA or VA.
    from emu.subject.object import OBJECT_SIZE_MAX

    places = (value % _U64, (value - boot.VA_OFFSET) % _U64)
    return any(boot.DRAM_BASE < place < boot.DRAM_BASE + OBJECT_SIZE_MAX for place in places)


def is_source(subject: str) -> bool:
    """Tell whether ``subject`` is the path of assembly text or of an object, by its suffix."""
    return Path(subject).suffix in (".S", ".s", ".o")


def load_file(path: Path, *, nr_cpus: int) -> Subject:
    """Load a user's file at IMAGE_PA: link a ``.o``, assemble text.

    The identity of text is that of the file and of what it includes, whatever NR_CPUS is.

    :param nr_cpus: CONFIG_NR_CPUS of text, 1..4096; unused for an object, which is assembled already
    :raises EmuError: as :func:`load_source` and :func:`emu.subject.object.load_object`
    """
    if path.suffix == ".o":
        from emu.subject.object import load_object

        return load_object(path)
    subject = load_source(path, nr_cpus=nr_cpus)
    read_files = "\0".join(included_texts(path.resolve(), [asm_dir() / "include", asm_dir()]))
    return replace(subject, identity=hashlib.sha256(read_files.encode()).hexdigest()[:16])


def _subject(name: str, flat: Flat, values: Mapping[str, int], defines: Mapping[str, int]) -> Subject:
    from emu.subject.assembler import assemble, chosen  # a kernel needs none

    words = set(re.findall(r"[A-Za-z_.$][\w.$]*", flat.text)) - set(flat.labels)
    externals = {key: value % _U64 for key, value in defines.items() if key in words}
    code, addresses, lines = assemble(flat, externals)
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
        assembler=chosen().name,
        lines=Lines(partial(_places, flat, lines)),
        constants=(range(boot.IMAGE_PA, boot.IMAGE_PA + len(code)),),
    )


def _places(flat: Flat, lines: Sequence[int | None]) -> dict[int, tuple[str, int]]:
    # PA of each instruction -> where it was written; of a macro's, where the outermost macro was called.
    found = {}
    for line, pa in zip(flat.lines, lines, strict=True):
        if pa is not None:
            file, _, number = (line.caller or f"{line.file}:{line.number}").rpartition(":")
            found[pa] = (file, int(number))
    return found

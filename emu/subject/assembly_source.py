"""Source files of assembly text, read as statements: comments removed, includes resolved."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from emu.errors import AssemblyError

_INCLUDE = re.compile(r'(?:#\s*include|\.include)\s+["<]([^">]+)[">]$')
_PLAIN = re.compile(r'[^\n;\\"/#]+')  # characters that end, join, quote and comment nothing
# The same among other lines, for texts that another assembler reads.
_ANY_INCLUDE = re.compile(r'^\s*(?:#\s*include|\.include)\s+["<]([^">]+)[">]', re.M)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement and its origin; ``caller`` is where the outermost macro was called."""

    text: str
    file: str
    number: int
    caller: str = ""

    def error(self, reason: str) -> AssemblyError:
        """Return the error ``FILE:LINE: statement: reason``."""
        called = f" (macro called at {self.caller})" if self.caller else ""
        return AssemblyError(f"{self.file}:{self.number}: {self.text.strip()}: {reason}{called}")

    def with_text(self, text: str) -> Statement:
        """Return another statement from the same place."""
        return self if text == self.text else replace(self, text=text)

    @property
    def is_instruction(self) -> bool:
        """Whether it is neither a label nor a directive."""
        return not self.text.startswith(".") and not self.text.endswith(":")


def read(path: Path, shown: str, include_dirs: Sequence[Path], seen: set[Path]) -> list[Statement]:
    """Return the statements of a file with its includes resolved and its comments removed.

    A file is included once per ``seen``: fragments assembled together may all include the same macros.

    :param shown: how errors name the file
    :raises AssemblyError: unreadable, not UTF-8, or an include that is not found
    """
    try:
        raw = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise AssemblyError(f"{shown}:1: {reason}; expected AArch64 assembly text") from error
    if "\0" in raw:
        raise AssemblyError(f"{shown}:{raw.count(chr(10), 0, raw.index(chr(0))) + 1}: a NUL; expected text")
    lines: list[Statement] = []
    for number, text in _kept_statements(raw):
        line = Statement(text, shown, number)
        include = _INCLUDE.match(text)
        if include is None:
            if text.startswith("#"):
                raise line.error(
                    "of the C preprocessor only #include is understood; use .equ, .macro and .if"
                )
            lines.append(line)
            continue
        for folder in (path.parent, *include_dirs):
            target = (folder / include[1]).resolve()
            if target.is_file():
                break
        else:
            raise line.error("no such file here, in asm/include or in asm")
        if target not in seen:
            seen.add(target)
            lines += read(target, _relative(target, include_dirs, shown), include_dirs, seen)
    return lines


def included_texts(path: Path, include_dirs: Sequence[Path]) -> Iterator[str]:
    """Yield the text of a file and of all files that it includes, each once, under whatever conditional.

    Files that cannot be read are skipped.
    """
    yield from _texts(path, include_dirs, set())


def _texts(path: Path, folders: Sequence[Path], seen: set[Path]) -> Iterator[str]:
    if path in seen or not path.is_file():
        return
    seen.add(path)
    with suppress(OSError):
        text = path.read_text(encoding="utf-8", errors="replace")
        yield text
        for name in _ANY_INCLUDE.findall(text):
            for folder in (path.parent, *folders):
                if (folder / name).is_file():
                    yield from _texts((folder / name).resolve(), folders, seen)
                    break


def _relative(target: Path, include_dirs: Sequence[Path], includer: str) -> str:
    # A short name for an included file: below asm/, or beside the file that asked for it.
    for folder in include_dirs:
        if target.is_relative_to(folder.resolve()):
            root = folder.resolve() if (folder / "include").is_dir() else folder.resolve().parent
            return f"asm/{target.relative_to(root)}"
    return str(Path(includer).parent / target.name)


@lru_cache(maxsize=128)
def _kept_statements(raw: str) -> tuple[tuple[int, str], ...]:
    # Of the same text at once: macros.inc is in every design, and a process loads designs again and again.
    return tuple(_statements(raw))


def _statements(raw: str) -> Iterator[tuple[int, str]]:
    # Comment-free statements with line numbers. Strings are opaque; a backslash joins two lines.
    out: list[str] = []
    position, number, started, quoted = 0, 1, 1, False
    while position <= len(raw):
        char = raw[position] if position < len(raw) else "\n"
        two = raw[position : position + 2]
        if char == "\n" or (char == ";" and not quoted):
            text = "".join(out).strip()
            if text:
                yield started, text
            out, quoted = [], False
            number += char == "\n"
            started = number
        elif two == "\\\n" and not quoted:
            number, position = number + 1, position + 1
        elif quoted and char == "\\":
            out.append(two)
            position += 1
        elif char == '"':
            quoted = not quoted
            out.append(char)
        elif not quoted and two == "//":
            position = _find(raw, "\n", position) - 1
        elif not quoted and two == "/*":
            end = _find(raw, "*/", position + 2)
            number += raw.count("\n", position, end)
            out.append(" ")
            position = end + 1
        elif (
            char == "#"
            and not "".join(out).strip()
            and not _INCLUDE.match(raw[position:].split("\n")[0].strip())
        ):
            word = re.match(r"#\s*(define|undef|if|ifdef|ifndef|elif|else|endif)\b", raw[position:])
            if word:
                out.append(char)
            else:
                position = _find(raw, "\n", position) - 1
        else:
            if not "".join(out).strip():
                started = number
            plain = _PLAIN.match(raw, position)
            out.append(plain[0] if plain else char)
            position += len(out[-1]) - 1
        position += 1


def _find(raw: str, what: str, start: int) -> int:
    # str.find() that returns the length of the text instead of -1.
    at = raw.find(what, start)
    return len(raw) if at < 0 else at

"""Arguments of the debugger's commands: parsed and checked."""

from __future__ import annotations

import re

from emu.debug.commands.context import Context
from emu.errors import InvalidCase

SHOWN_MAX = 4096  # of words or instructions that one line asks for
WIDTHS = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
_WORD = re.compile(r"(u8|u16|u32|u64)?\[(.+)\]")
_CPU_AT_END = re.compile(r"(?:^|\s+)cpu\s+(\d+|[A-Za-z_]\w*)$")


def parse_word(text: str) -> tuple[int, str] | None:
    """Return bytes and address of a word of memory: ``[ADDRESS]``, ``u32[ADDRESS]``; None: it is none."""
    match = _WORD.fullmatch(text)
    if match is None:
        return None
    depth = 0
    for letter in match[2]:
        depth += (letter == "[") - (letter == "]")
        if depth < 0:  # [a] + [b]
            return None
    return WIDTHS[match[1] or "u64"], match[2]


def parse_number(
    text: str, what: str, default: int | None = None, least: int = 0, most: int | None = None
) -> int:
    """Return the number that ``text`` is; ``#`` before it is allowed.

    :param what: the argument, for messages
    :param default: value of an empty text; None: an empty text is refused
    :raises InvalidCase: no number, below ``least``, or above ``most``
    """
    if not text and default is not None:
        return default
    try:
        value = int(text.removeprefix("#"), 0)
    except ValueError:
        raise InvalidCase(f"{text or 'nothing':.80}: {what} is a number") from None
    if value < least:
        raise InvalidCase(f"{text:.80}: {what} is at least {least}")
    if most is not None and value > most:
        raise InvalidCase(f"{text:.80}: {what} is at most {most}")
    return value


def check_no_more(text: str) -> None:
    """Refuse an argument.

    :raises InvalidCase: ``text`` is not empty
    """
    if text:
        raise InvalidCase(f"{text}: the command takes nothing more")


def split_cpu(context: Context, text: str) -> tuple[str, int]:
    """Return the text without ``cpu N`` at its end, and N; -1: the text names no CPU.

    :raises InvalidCase: there is no such CPU
    """
    match = _CPU_AT_END.search(text)
    if not match:
        return text, -1
    return text[: match.start()].strip(), check_cpu(context, parse_number(match[1], "cpu"))


def split_selected_cpu(context: Context, text: str) -> tuple[str, int]:
    """Return the same; the selected CPU where the text names none.

    :raises InvalidCase: there is no such CPU
    """
    text, cpu = split_cpu(context, text)
    return text, context.cpu if cpu < 0 else cpu


def check_cpu(context: Context, cpu: int) -> int:
    """Return ``cpu``.

    :raises InvalidCase: there is no such CPU
    """
    if cpu not in context.session.cpus:
        raise InvalidCase(f"cpu {cpu}: there are {len(context.session.cpus)}, from 0 on")
    return cpu


def check_given(text: str, what: str) -> str:
    """Return ``text``.

    :param what: the argument, for the message
    :raises InvalidCase: ``text`` is empty
    """
    if not text:
        raise InvalidCase(f"{what} is missing")
    return text


def place_of_pc(context: Context) -> str:
    """Return the PC of the selected CPU as ``symbol+offset``.

    :raises InvalidCase: the CPU is off, or runs a host task
    """
    if context.session.machine.actors[context.cpu].task is not None:
        raise InvalidCase(f"CPU{context.cpu} runs a host task: name a place")
    if context.view.cpu(context.cpu).el < 0:
        raise InvalidCase(f"CPU{context.cpu} is off: name a place")
    return context.session.places.describe(context.session.pe(context.cpu).pc)

"""Keystone for a flat text: it runs in a child process, and this module makes up for what it lacks.

Keystone 0.9.2 encodes adrp with an absolute page, has no :lo12:, silently skips instructions it does not
know, and names no line in its errors.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emu.arch.boot import IMAGE_PA
from emu.errors import AssemblyError
from emu.subject.assemblers import Assembled
from emu.subject.assembly_expression import evaluate
from emu.subject.assembly_source import Statement
from emu.subject.assembly_text import Flat
from emu.subject.later_instructions import later_word

# Its process limits its CPU time; this is for one that hangs and uses none. No result depends on it.
CHILD_SECONDS_MAX = 30

# Without site, which takes a third of the time of a start: PYTHONPATH has all folders that this process has.
_CHILD = (sys.executable, "-S", "-P", str(Path(__file__).with_name("keystone_child.py")))

_ADRP = re.compile(r"adrp\s+x(\d+|zr)\s*,\s*(.+)$", re.IGNORECASE)
_LO12 = re.compile(r"#?:lo12:([^\],]+)")
_STATEMENT = re.compile(r"\s*([\w.$\"]|$)", re.ASCII)  # Keystone hangs on a statement that begins otherwise


def run_keystone(flat: Flat, externals: Mapping[str, int]) -> Assembled:
    """Return what Keystone makes of a text; for the parameters see :func:`emu.subject.assembler.assemble`.

    :raises AssemblyError: FILE:LINE and Keystone's reason
    """
    for line in flat.lines:
        if not _STATEMENT.match(line.text):
            raise line.error("Invalid input token (KS_ERR_ASM_TOKEN_INVALID)")
    keystone = _Keystone(flat, externals)
    texts = [_known(line.text) for line in flat.lines]
    if any(_ADRP.match(text) or _LO12.search(text) for text in texts):
        placeholders = [_LO12.sub("#0", "nop" if _ADRP.match(text) else text) for text in texts]
        answer = keystone.assemble(placeholders)
        places = {**externals, **dict(zip(flat.labels, answer["labels"], strict=True))}
        texts = [
            _relocated(line, places, int(pa)) if pa is not None else line.text
            for line, pa in zip(flat.lines, answer["lines"], strict=True)
        ]
    answer = keystone.assemble(texts)
    code = base64.b64decode(answer["code"])
    return Assembled(code, dict(zip(flat.labels, answer["labels"], strict=True)), answer["lines"])


def _relocated(line: Statement, places: Mapping[str, int], pc: int) -> str:
    # adrp as the word it encodes to, :lo12: as a number (Arm DDI 0487, C6.2 ADRP).
    adrp = _ADRP.match(line.text)
    try:
        if adrp is None:
            text = _known(line.text)
            return _LO12.sub(lambda match: f"#{evaluate(match[1], places) & 0xFFF:#x}", text)
        register = 31 if adrp[1].lower() == "zr" else int(adrp[1])
        pages = ((evaluate(adrp[2], places) & ~0xFFF) - (pc & ~0xFFF)) >> 12
    except ValueError as error:
        raise line.error(str(error).replace("is not a constant", "is not defined")) from None
    if not -(1 << 20) <= pages < 1 << 20 or register > 31:
        raise line.error("the target is more than 4 GiB away")
    return f".word {0x9000_0000 | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5 | register:#x}"


def _known(text: str) -> str:
    # An instruction that Keystone does not know as its word.
    word = later_word(text)
    return text if word is None else f".word {word:#x}"


def _answer_in(printed: list[str]) -> tuple[dict[str, Any] | None, list[str]]:
    # The answer, if the child came so far, however it ended behind it; and what it printed before.
    if not printed or not printed[-1].startswith("{"):
        return None, printed
    try:
        answer: dict[str, Any] = json.loads(printed[-1])
    except ValueError:  # cut off
        return None, printed[:-1]
    return answer, printed[:-1]


class _Keystone:
    """Runs the child process for one text, and finds the line of an error."""

    def __init__(self, flat: Flat, externals: Mapping[str, int]) -> None:
        self.flat = flat
        self.externals = externals

    def assemble(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return the child's answer for the text, one string for each line of the flat text."""
        answer, _, reason = self._child("assemble", texts)
        if answer is None or "code" not in answer:
            raise self._diagnose(texts, answer, reason)
        return answer

    def _child(self, job: str, texts: Sequence[str]) -> tuple[dict[str, Any] | None, list[str], str]:
        # Return the answer (None after a crash), the lines printed before it, and how the child ended.
        request = {
            "job": job,
            "address": IMAGE_PA,
            "lines": list(texts),
            "instructions": [line.is_instruction for line in self.flat.lines],
            "labels": list(self.flat.labels),
            "externals": dict(self.externals),
        }
        try:
            done = subprocess.run(
                _CHILD,
                input=json.dumps(request),
                capture_output=True,
                text=True,
                timeout=CHILD_SECONDS_MAX,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            printed = expired.stdout or b""  # bytes even with text=True
            lines = (printed if isinstance(printed, str) else printed.decode()).splitlines()
            return *_answer_in(lines), f"Keystone gave no answer within {CHILD_SECONDS_MAX} s"
        answer, printed_lines = _answer_in(done.stdout.splitlines())
        if answer is not None:
            return answer, printed_lines, ""
        if done.returncode == -signal.SIGXCPU:
            return None, printed_lines, "Keystone gave no answer in two seconds of CPU time"
        said = [line for line in done.stderr.splitlines() if line.strip()]
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        return None, printed_lines, f"{said[-1].strip() if said else 'crash'} (Keystone ended with {how})"

    def _diagnose(self, texts: Sequence[str], answer: dict[str, Any] | None, reason: str) -> AssemblyError:
        # Keystone names no line: try each line alone, then undefined symbols, then the shortest failing
        # prefix.
        lines = self.flat.lines
        alone, printed, crash = self._child("check", texts)
        if alone is None and printed:
            return lines[int(printed[-1])].error(crash)
        if alone is not None and alone["bad"] is not None:
            bad: Statement = lines[alone["bad"]]
            return bad.error(alone["error"])
        for name in answer["undefined"] if answer else ():
            word = re.compile(rf"(?<![\w.$]){re.escape(name)}(?![\w.$])")
            for line in lines:
                if word.search(line.text):
                    error = line.error(f"symbol {name} is not defined")
                    error.undefined = tuple(answer["undefined"]) if answer else ()
                    return error
        return self._shortest_failing_prefix(texts, answer["error"] if answer else reason)

    def _shortest_failing_prefix(self, texts: Sequence[str], reason: str) -> AssemblyError:
        # Instructions after the cut become nop, which keeps the layout. The smallest cut that fails ends at
        # the faulty line.
        lines = self.flat.lines
        code = [i for i, line in enumerate(lines) if line.is_instruction]

        def bad(cut: int) -> bool:
            blank = set(code[cut:])
            answer, _, _ = self._child("assemble", ["nop" if i in blank else t for i, t in enumerate(texts)])
            return answer is None or "code" not in answer

        if not code or bad(0):
            return lines[0].error(f"{reason}; here or in the data behind it")
        low, high = 0, len(code)  # good with `low` real instructions, bad with `high`
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if bad(middle) else (middle, high)
        return lines[code[high - 1]].error(reason)

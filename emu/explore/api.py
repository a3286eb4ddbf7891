"""Exploration as a function: programs, memory and properties in, what every order of them comes to out.

::

    from emu.explore import explore

    done = explore(
        programs=["adr x1, x\\n mov x0, #1\\n str x0, [x1]", "adr x1, x\\n ldr x2, [x1]"],
        memory={"x": 0},
        properties=["finally [x] == 1"],
    )
    done.assert_pass()
    assert set(done.outcomes("cpu1:x2")) == {(0,), (1,)}
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from emu.case import Case
from emu.errors import InvalidCase
from emu.explore.confirm import Confirmed, confirm_shortest
from emu.explore.explorer import ExplorationResult, case_of, explore_case
from emu.explore.outcomes import find_outcomes
from emu.explore.search import Bounds
from emu.finding import Finding
from emu.host.own_firmware import Function, register
from emu.host.properties import outcomes_of

Words = int | Sequence[int]
_LINE = 64  # bytes: each piece of memory lies in lines of its own


class Exploration:
    """What came of it.

    :ivar source: the assembly text that was made of the arguments; ``path`` is its file, there while this
        object is, or in the folder that was given
    :ivar case: the text of the case
    :ivar boot: the machine that was explored
    """

    def __init__(
        self, source: str, folder: str | Path | None, case: Mapping[str, Any], bounds: Bounds
    ) -> None:
        self.source = source
        self._kept = tempfile.TemporaryDirectory(prefix="emu-explore-") if folder is None else None
        self.path = Path(folder or self._kept.name) / "programs.S"  # type: ignore[union-attr]
        self.path.write_text(source, encoding="utf-8")
        self._bounds = bounds
        self._explorer, self.boot = explore_case(Case(str(self.path), **case))
        self.case: str = self.boot.case.text()
        self._result: ExplorationResult = self._explorer.search(bounds, everything=True)

    @property
    def complete(self) -> bool:
        """Whether every schedule was covered."""
        return self._result.complete

    @property
    def incomplete(self) -> list[str]:
        """Why not every schedule was covered."""
        return list(self._result.incomplete)

    @property
    def unmodelled(self) -> dict[str, int]:
        """What was executed and is not modelled, with the number of places."""
        return dict(self._result.coverage.unmodelled) if self._result.coverage else {}

    @property
    def schedules(self) -> int:
        """How many were taken."""
        return self._result.count.schedules

    @property
    def findings(self) -> list[Finding]:
        """What the rules have found, and which properties do not hold."""
        return [found.finding for found in self._result.findings]

    @cached_property
    def cases(self) -> list[str]:
        """The text of a case for each finding, for :command:`emu replay` and :command:`emu step`."""
        return [case_of(self.boot, found.picks) for found in self._result.findings]

    def outcomes(self, *expressions: str) -> dict[tuple[int, ...], str]:
        """Return what expressions are at the ends of all schedules, with the text of a case for each.

        :param expressions: as ``--outcomes`` has them: ``[x]``, ``cpu1:x2``
        :return: by their values (u64 each)
        :raises InvalidCase: the bounds have left something out, or an expression is none
        """
        named = outcomes_of(",".join(expressions), self.boot.names)
        found = find_outcomes(self._explorer, list(named.values()), self._bounds)
        if found.ends.incomplete:
            raise InvalidCase(f"explore: {', '.join(found.ends.incomplete)}: there may be more outcomes")
        return {values: case_of(self.boot, picks) for values, picks in found.picks.items()}

    def confirmed(self, number: int = 0) -> Confirmed:
        """Return a finding with the shortest schedule that was found for it, and the run that shows it.

        :func:`emu.report.story.story_of` makes a story of it.

        :raises InvalidCase: there is no such finding
        """
        if not 0 <= number < len(self.findings):
            raise InvalidCase(f"explore: finding {number}: there are {len(self.findings)}, from 0 on")
        return confirm_shortest(self._explorer, self.boot, self._result.findings[number])

    def assert_pass(self) -> None:
        """Check that every schedule was covered and nothing was found.

        :raises AssertionError: each finding with a case, whose story :func:`emu.report.story.story_of` and
            :command:`emu replay` tell; or what was left out
        """
        if self.findings:
            raise AssertionError("\n".join(["", *map(_told, self.findings, self.cases)]))
        if not self.complete:
            raise AssertionError(f"explore {self.case}: {', '.join(self.incomplete)}")


def _told(finding: Finding, case: str) -> str:
    # A finding without its rule's words, which are the reports'.
    data = ", ".join(f"{name} {value}" for name, value in finding.data)
    return f"{finding.rule} ({finding.what}): {data}\n  case: {case}"


def explore(
    programs: Sequence[str] | Mapping[str, str],
    memory: Mapping[str, Words] | None = None,
    properties: Sequence[str] = (),
    *,
    model: str = "coherent",
    cpus: int | None = None,
    cpu: str = "",
    mmu: bool = False,
    el: int = 1,
    firmware: str | Function = "psci",
    conduit: str = "",
    folder: str | Path | None = None,
    **bounds: Any,
) -> Exploration:
    """Try every order of operations of some programs.

    :param programs: A64 text. In a sequence each CPU has one; in a mapping it is by who runs it, ``boot``,
        ``secondary``, ``cpu2`` or ``hwid(0x100)``, and others are off until firmware switches them on. A CPU
        begins with X0 = its number and SP = the top of a stack of its own; behind its last instruction it
        stops. Labels are of one text: a name stands once
    :param memory: u64s by name, which programs reach with ``adr`` or ``ldr xN, =name``; each name has lines
        of its own
    :param properties: what must hold (docs/exploring.md)
    :param model: of memory, as ``--memory`` has it
    :param cpus: how many there are, when it is not as many as programs
    :param cpu: the core, as ``--cpu`` has it
    :param mmu: the CPUs begin with MMU and caches on, memory mapped to itself; else with both off
    :param el: of entry, 1 or 2
    :param firmware: what answers SMC (or ``conduit="hvc"``): ``psci``; ``none``; ``at LABEL``, where code of
        the programs does at EL2; a path of a Python file; or a function like the one in such a file
    :param folder: where the text is kept
    :param bounds: fields of :class:`emu.explore.search.Bounds`
    :raises EmuError: a text that does not assemble, a property that is none, a bound that is not known
    """
    starts = (
        dict(programs)
        if isinstance(programs, Mapping)
        else {f"cpu{number}": text for number, text in enumerate(programs)}
    )
    if not starts:
        raise InvalidCase("explore: no program: one for a CPU at least")
    said = firmware if isinstance(firmware, str) else register(firmware)
    source = "\n".join(_source(starts, memory or {}, properties, mmu=mmu, firmware=said)) + "\n"
    try:
        made = Bounds(**bounds)
    except TypeError as error:
        raise InvalidCase(f"explore: {str(error).partition(') ')[2] or error}") from None
    count = cpus if cpus is not None else len(starts)
    case = {"topology": f"flat:{count}", "memory": model, "cpu": cpu, "el": el, "conduit": conduit}
    return Exploration(source, folder, case, made)


def _source(
    starts: Mapping[str, str],
    memory: Mapping[str, Words],
    properties: Sequence[str],
    *,
    mmu: bool,
    firmware: str,
) -> Iterator[str]:
    # The programs as one file that `emu explore` takes.
    yield "/* programs - made by emu.explore.explore()"
    yield " *"
    for number, who in enumerate(starts):
        yield f" * start: {_line(who)} program{number}"
    yield f" * mmu: {'on' if mmu else 'off'}"
    yield f" * firmware: {_line(firmware)}"
    for text in properties:
        yield f" * assert: {_line(text)}"
    yield " */"
    for number, text in enumerate(starts.values()):
        yield f"program{number}:"
        yield text
        yield "        b       ."
    for name, words in memory.items():
        yield f"        .balign {_LINE}"
        yield f"{name}:"
        for word in [words] if isinstance(words, int) else words:
            yield f"        .quad   {word & 2**64 - 1:#x}"
    if memory:
        yield f"        .balign {_LINE}"


def _line(text: str) -> str:
    if len(text.splitlines()) != 1 or "*/" in text:
        raise InvalidCase(f"explore: {text!r:.60}: one line is expected")
    return text

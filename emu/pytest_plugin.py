"""The pytest plugin: look-ups and boots as tests of one's own tree (docs/testing.md).

pytest imports this at every start, of whatever project: it imports nothing of emu before a test asks for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from emu.case import Case
    from emu.finding import Verdict
    from emu.fuzz.built_lookup import Checked
    from emu.host.build import Boot
    from emu.lookup.contract import Contract
    from emu.report.words import Told

__all__ = ["Booted", "Explored", "Lookup", "assert_boot", "assert_lookup"]

T = TypeVar("T")

_SHOWN = 3  # findings that are shown with all there is


class Lookup:
    """A lookup under test.

    :param subject: a design's name, or a ``.S`` file, an object or a kernel: beside the calling file, or
        from where pytest was started
    :param contract: a TOML file, found likewise; None: what belongs to the subject
    :param system_map: symbols of a kernel
    :raises EmuError: no such subject, or none with a contract
    """

    def __init__(
        self,
        subject: str,
        contract: str | None = None,
        system_map: str | None = None,
        *,
        near: Path | None = None,
    ) -> None:
        from emu.fuzz.built_lookup import UnderTest

        folder = near or _caller()
        self.name = _find(subject, folder)
        self._contract = _find(contract, folder) if contract else ""
        self._system_map = _find(system_map, folder) if system_map else ""
        self._under_test = UnderTest(
            self.name,
            Path(self._contract) if contract else None,
            Path(self._system_map) if system_map else None,
        )

    def __repr__(self) -> str:
        return f"Lookup({self.name!r})"

    @property
    def contract(self) -> Contract:
        """What it promises."""
        return self._under_test.contract

    def check(
        self,
        cases: int = 100_000,
        *,
        seed: int = 0,
        matches: int = 75,
        nr_cpus: Sequence[int] = (),
        max_cpus: int | None = None,
    ) -> None:
        """Do what ``emu lookup`` does: every small table, the regression corpus, ``cases`` random questions.

        :param matches: percent of the random questions whose CPU is in the map
        :param nr_cpus: NR_CPUS to go through; nothing: the contract's
        :raises AssertionError: a wrong answer, with the case that asks it again
        :raises EmuError: it does not assemble, or no NR_CPUS is left
        """
        __tracebackhide__ = True
        from emu.errors import InvalidCase
        from emu.fuzz.search import LookupSearch

        if cases < 0 or not 0 <= matches <= 100:
            raise InvalidCase(f"cases={cases}, matches={matches}: no fewer than 0, and 0..100 percent")
        sizes = sorted(set(nr_cpus)) or self._under_test.sizes
        sizes = [size for size in sizes if max_cpus is None or size <= max_cpus]
        if not sizes:
            raise InvalidCase(f"max_cpus={max_cpus}: no NR_CPUS of the contract is left")
        search = LookupSearch(self._under_test)
        for _ in search.run(sizes, cases, seed, matches):
            pass
        if search.findings:
            count = len(search.findings)
            title = f"lookup {self.name}: {count} finding{'' if count == 1 else 's'} in {search.cases} cases"
            shown = [self._tell(found, whole=n < _SHOWN) for n, found in enumerate(search.findings)]
            raise AssertionError("\n".join([title, *shown]))

    def ask(self, logical_map: Sequence[int | None], mpidr: int, nr_cpus: int | None = None) -> int | None:
        """Return the logical CPU that it finds for MPIDR_EL1 ``mpidr`` (u64), or None.

        :param logical_map: hwid (u64) of each logical CPU, None or INVALID_HWID for a hole
        :param nr_cpus: None: the smallest of the contract with room for the map
        :raises AssertionError: what it does is not what its contract promises
        :raises DoesNotFit: its tables cannot hold this map
        :raises InvalidCase: the map has more CPUs than any NR_CPUS of the contract
        """
        __tracebackhide__ = True
        from emu.arch.mpidr import INVALID_HWID
        from emu.lookup.case import Question

        if nr_cpus is None:
            sizes = self._under_test.sizes
            nr_cpus = next((size for size in sizes if size >= len(logical_map)), sizes[-1])
        entries = tuple(None if hwid == INVALID_HWID else hwid for hwid in logical_map)
        checked = self._under_test.at(nr_cpus).check(Question(entries, mpidr))
        if checked.wrong is not None:
            raise AssertionError("\n".join([f"lookup {self.name}:", self._tell(checked, whole=True)]))
        return checked.expected

    def _tell(self, checked: Checked, *, whole: bool) -> str:
        from emu.report.lookup import case_of, describe
        from emu.report.registers import registers_of_answer

        text = case_of(self._under_test, checked, self._contract, self._system_map).text()
        *lines, case = describe(self._under_test, checked, text)
        if not whole:
            return "\n".join([lines[0], case])
        return "\n".join([*lines, *registers_of_answer(self._under_test, checked), case])


class Booted:
    """A boot that has ended: the outcome of every CPU, the log, and memory."""

    def __init__(self, boot: Boot) -> None:
        from emu.host.build import build_to_judge
        from emu.report.outcome import cpu_outcomes, dmesg
        from emu.report.words import outcome_words
        from emu.rules import judge

        boot.machine.run()
        boot.machine.finish()
        again = build_to_judge(boot)
        if again is not None:
            boot = again
            boot.machine.run()
            boot.machine.finish()
        self.boot = boot
        self.case: str = boot.case.text()
        self.verdict: Verdict = judge(boot.machine.trace)
        # By CPU; "online" is the good one.
        self.outcomes: list[str] = [outcome_words(cpu.outcome) for cpu in cpu_outcomes(boot)]
        self.dmesg: list[str] = [line for _ns, line in dmesg(boot)]
        self.stopped: str = boot.machine.stopped  # why it was cut off; nothing: it was not

    def __repr__(self) -> str:
        return f"Booted({self.case!r})"

    @property
    def findings(self) -> tuple[Told, ...]:
        """What the rules say: each has ``rule``, ``what``, ``message`` and ``cpus``."""
        from emu.report.words import told

        return tuple(told(finding, self.case) for finding in self.verdict.findings)

    @property
    def passed(self) -> bool:
        """Whether it ran to its end and no rule found anything."""
        return not self.findings and not self.stopped

    def address(self, symbol: str) -> int:
        """Return the PA of a symbol of the subject that booted last.

        :raises Untestable: it has no such symbol
        """
        guest = self.boot.guest
        return guest.pa_of(guest.subject.va(symbol))

    def read(self, symbol: str, size: int = 8, *, offset: int = 0) -> int:
        """Return ``size`` (1, 2, 4 or 8) bytes at ``offset`` bytes behind a symbol, as the run left them.

        :raises Untestable: it has no such symbol
        """
        return self.boot.machine.memory.read(self.address(symbol) + offset, size)

    def read_bytes(self, symbol: str, count: int) -> bytes:
        """Return ``count`` bytes from a symbol on.

        :raises Untestable: it has no such symbol
        """
        return self.boot.machine.memory.read_bytes(self.address(symbol), count)

    def assert_pass(self) -> None:
        """Check that it ran to its end and that no rule found anything.

        :raises AssertionError: the findings, where their CPUs are, and the case that boots so again
        """
        __tracebackhide__ = True
        if not self.passed:
            raise AssertionError(self._tell())

    def _tell(self) -> str:
        from emu.report.outcome import cpu_outcomes
        from emu.report.registers import registers_of_cpu
        from emu.report.words import outcome_words

        count = len(self.findings)
        lines = [f"boot {self.boot.case.subject}: {count} finding{'' if count == 1 else 's'}"]
        lines += [f"finding ({found.rule}): {found.message}" for found in self.findings]
        if self.stopped:
            lines.append(f"cut off: {self.stopped}")
        named = dict.fromkeys(cpu for found in self.findings for cpu in found.cpus)
        cpus = cpu_outcomes(self.boot)
        for cpu in list(named)[:_SHOWN]:
            where = f", at {cpus[cpu].at}" if cpus[cpu].at else ""
            lines += [
                f"CPU{cpu}: {outcome_words(cpus[cpu].outcome)}{where}",
                *registers_of_cpu(self.boot, cpu),
            ]
        return "\n".join([*lines, f"case: {self.case}"])


def assert_lookup(
    subject: str,
    *,
    contract: str | None = None,
    system_map: str | None = None,
    cases: int = 100_000,
    near: Path | None = None,
    **options: Any,
) -> Lookup:
    """Test the lookup of ``subject`` as ``emu lookup`` does, and return it.

    :param near: folder in which the files are looked for first; None: that of the calling file
    :param options: of :meth:`Lookup.check`
    :raises AssertionError: a wrong answer, with the case that asks it again
    :raises EmuError: it cannot be tested
    """
    __tracebackhide__ = True
    folder = near or _caller()

    def test() -> Lookup:
        __tracebackhide__ = True
        lookup = Lookup(subject, contract, system_map, near=folder)
        lookup.check(cases, **options)
        return lookup

    return _plainly(test)


def assert_boot(case: str, *, near: Path | None = None) -> Booted:
    """Boot ``case``, check that every rule is content, and return what came of it.

    :param case: as ``emu boot --case`` has it: ``v3 topology=smt:8 scheduler=random:3``
    :param near: as of :func:`assert_lookup`
    :raises AssertionError: the findings
    :raises EmuError: it cannot be booted
    """
    __tracebackhide__ = True
    folder = near or _caller()
    booted = _plainly(lambda: Booted(_build(case, folder)))
    booted.assert_pass()
    return booted


@pytest.fixture(scope="module")
def emu_lookup(request: pytest.FixtureRequest) -> Callable[..., Lookup]:
    """Test a lookup: ``emu_lookup("my_lookup.S", cases=100_000)``; returns it for ``.ask()``."""
    folder = request.path.parent

    def test(subject: str, **options: Any) -> Lookup:
        __tracebackhide__ = True
        return assert_lookup(subject, near=folder, **options)

    return test


@pytest.fixture(scope="module")
def emu_machine(request: pytest.FixtureRequest) -> Callable[..., Boot]:
    """Build the machine of a case and do not run it: ``emu_machine("v3 topology=flat:4")``."""
    folder = request.path.parent

    def make(case: str, *, record: bool = False) -> Boot:
        __tracebackhide__ = True
        return _plainly(lambda: _build(case, folder, record=record))

    return make


@pytest.fixture(scope="module")
def emu_boot(request: pytest.FixtureRequest) -> Callable[..., Booted]:
    """Boot a case, whatever comes of it: ``emu_boot("v3 topology=smt:8").assert_pass()``."""
    folder = request.path.parent

    def run(case: str, *, record: bool = False) -> Booted:
        __tracebackhide__ = True
        return _plainly(lambda: Booted(_build(case, folder, record=record)))

    return run


class Explored:
    """Every order of a case, as ``emu explore`` tries them.

    :ivar complete: nothing was left out
    :ivar findings: with the case that shows each of them
    """

    def __init__(self, case: str, folder: Path, **bounds: Any) -> None:
        from emu.explore.explorer import case_of, explore_case
        from emu.explore.search import Bounds
        from emu.report.words import told

        self._explorer, self._boot = explore_case(_case(case, folder))
        self._bounds = Bounds(**bounds)
        self._result = self._explorer.search(self._bounds)
        self.complete = self._result.complete
        self.schedules = self._result.count.schedules
        self.findings = [
            told(found.finding, case_of(self._boot, found.picks)) for found in self._result.findings
        ]

    def outcomes(self, *expressions: str) -> set[tuple[int, ...]]:
        """Return what expressions are at the ends of all schedules: ``outcomes("[word]", "cpu1:x0")``.

        :raises AssertionError: the bounds have left something out
        """
        __tracebackhide__ = True
        from emu.explore.outcomes import find_outcomes
        from emu.host.properties import outcomes_of

        named = outcomes_of(",".join(expressions), self._boot.names)
        found = find_outcomes(self._explorer, list(named.values()), self._bounds)
        if found.ends.incomplete:
            raise AssertionError(f"explore {self._boot.case.text()}: {', '.join(found.ends.incomplete)}")
        return set(found.picks)

    def assert_pass(self, *, complete: bool = True) -> None:
        """Fail with the story of the first finding, or when something was left out.

        :param complete: False: what the bounds left out is no matter
        """
        __tracebackhide__ = True
        from emu.explore.confirm import confirm_shortest
        from emu.report.story import tell_story

        if self._result.findings:
            confirmed = confirm_shortest(self._explorer, self._boot, self._result.findings[0])
            raise AssertionError("\n".join(["", *tell_story(self._boot, confirmed).lines()]))
        if complete and not self.complete:
            raise AssertionError(f"explore {self._boot.case.text()}: {', '.join(self._result.incomplete)}")


@pytest.fixture(scope="module")
def emu_explore(request: pytest.FixtureRequest) -> Callable[..., Explored]:
    """Explore a case: ``emu_explore("v3 topology=flat:4", schedules=1000).assert_pass()``.

    Keywords are those of :class:`emu.explore.search.Bounds`.
    """
    folder = request.path.parent

    def run(case: str, **bounds: Any) -> Explored:
        __tracebackhide__ = True
        return _plainly(lambda: Explored(case, folder, **bounds))

    return run


@pytest.fixture
def emu_subject() -> str:
    """Name each subject of ``@pytest.mark.emu_subjects("v2", "v3", "my.S")`` in turn."""
    pytest.fail("emu_subject: mark the test with @pytest.mark.emu_subjects('v3', ...)", pytrace=False)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "emu_subjects(*names): run with each of them in the fixture emu_subject"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each subject that the marker names."""
    if "emu_subject" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("emu_subjects")
    if marker is None:
        return
    if not marker.args or marker.kwargs or not all(isinstance(name, str) for name in marker.args):
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: emu_subjects: one or more names of subjects")
    metafunc.parametrize("emu_subject", marker.args)


def _plainly(run: Callable[[], T]) -> T:
    # What is wrong with the input, without the way through emu on which it came up.
    __tracebackhide__ = True
    from emu.errors import EmuError

    try:
        return run()
    except EmuError as error:
        raise error.with_traceback(None) from None


def _build(text: str, folder: Path, *, record: bool = False) -> Boot:
    from emu.host.build import build

    return build(_case(text, folder), record=record)


def _case(text: str, folder: Path) -> Case:
    # The case, its files found.
    from emu.case import Case

    case = Case.parse(text)
    subject, topology = _find(case.subject, folder), _find(case.topology, folder)
    return replace(case, subject=subject, topology=topology, system_map=_find(case.system_map, folder))


def _find(name: str, folder: Path) -> str:
    # A path that the case line can have: from where pytest was started, when it is below that.
    from emu.designs import DESIGNS

    if not name or name in DESIGNS or not (folder / name).exists():
        return name
    path, here = str(folder / name), os.getcwd() + os.sep
    return path.removeprefix(here)


def _caller() -> Path:
    # Folder of the file that called what calls this.
    return Path(sys._getframe(2).f_globals.get("__file__", ".")).parent

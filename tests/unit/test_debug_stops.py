"""Where a session stops: the same position forwards and backwards, at what happens and at nothing else."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from emu.case import Case
from emu.debug.commands import Commands
from emu.debug.session import Session
from emu.debug.stop_checker import StopChecker
from emu.debug.stops import EVENTS, Others, SessionStop
from emu.host.build import build
from emu.operation import Kind

_CASES = (
    "v3 topology=flat:4",
    "v3 topology=flat:3 scheduler=random:5 memory=caches",
    "mainline topology=flat:3 enable-method=spin-table",
    "v2 topology=flat:3 fault=2:no-52bit-va el=2",
    "v3 topology=flat:3 kexec=v3@1",
    "v3 topology=flat:3 kexec=mainline@1",
    "v3 topology=flat:3 cycle=1",
)


def session(text: str) -> Session:
    return Session(build(Case.parse(text)))


def stops(debugged: Session) -> Iterator[tuple[int, SessionStop]]:
    """Continue to the end; give the position of every stop."""
    while (stop := debugged.go_on()).reason != "end":
        yield debugged.position, stop


def _with_breakpoints(text: str, seed: int) -> Session:
    debugged, choice = session(text), random.Random(seed)
    subject = debugged.boot.guest.subject
    names = sorted(name for name, va in subject.symbols if subject.lines.at(subject.pa(name)))
    for name in choice.sample(names, 6):
        debugged.add_breakpoint(name, cpu=choice.choice((-1, -1, 1, 2)))
    return debugged


@pytest.mark.parametrize("text", _CASES)
def test_forwards_and_backwards_a_breakpoint_names_the_same_position(text: str) -> None:
    told = 0
    for seed in range(4):
        debugged = _with_breakpoints(text, seed)
        forwards = [(position, stop.cpu, stop.number) for position, stop in stops(debugged)]
        back = debugged.checker.arrivals_back(debugged.settings)
        backwards = [(position, stop.cpu, stop.number) for position, stop in back]
        assert sorted(backwards) == sorted(forwards), seed
        assert [position for position, *_ in backwards] == sorted((p for p, *_ in forwards), reverse=True)
        told += len(forwards)
    assert told > 2


def test_each_cpu_that_is_woken_stops_behind_its_wfe() -> None:
    """It has slept in the pen: the step that brings it behind its WFE is that of the CPU that wakes it."""
    debugged = session("mainline topology=flat:4 enable-method=spin-table")
    pen = debugged.boot.guest.subject.pa("secondary_holding_pen")
    wfe = next(pa for pa in range(pen, pen + 64, 4) if debugged.machine.memory.read(pa, 4) == 0xD503_205F)
    debugged.add_breakpoint(f"{wfe + 4:#x}")
    told = [(position, stop.cpu) for position, stop in stops(debugged)]
    log = debugged.log
    rows = [(at + 1, row) for at in range(log.position) for row in log.records_of(at)]
    woken = [(at, row.actor) for at, row in rows if row.kind is Kind.WAKE and row.pc == wfe + 4]
    assert [cpu for _, cpu in woken] == [2, 3, 3]
    assert woken[0][0] == woken[1][0], "one SEV wakes both"
    assert set(woken) <= set(told)
    back = [(position, stop.cpu) for position, stop in debugged.checker.arrivals_back(debugged.settings)]
    assert sorted(back) == sorted(told)


def test_who_arrives_while_a_watchpoint_stops_is_told_next() -> None:
    """One step can do both: the store is told first, and nothing moves before the breakpoint is told."""
    debugged = session("v3 topology=flat:2")
    debugged.add_breakpoint("set_cpu_boot_mode_store+0x4")
    debugged.add_watchpoint("__boot_cpu_mode", cpu=1)
    (first, store), (second, arrival) = list(stops(debugged))[:2]
    assert (store.reason, arrival.reason) == ("watchpoint", "breakpoint")
    assert first == second


def test_the_step_off_a_breakpoint_that_is_still_to_be_told_is_made() -> None:
    debugged = session("v3 topology=flat:2")
    debugged.add_breakpoint("set_cpu_boot_mode_store+0x4")
    debugged.add_watchpoint("__boot_cpu_mode", cpu=1)
    assert debugged.go_on().reason == "watchpoint"
    position = debugged.position
    debugged.settings.others = Others.STAND
    assert debugged.step(1).reason == "step"
    assert debugged.position == position + 1


def test_behind_a_kexec_a_breakpoint_stands_where_that_boot_s_code_has_the_name() -> None:
    """__secondary_switched lies elsewhere in the second boot; the first alone has scan."""
    debugged = session("v3 topology=flat:3 kexec=mainline@1")
    for name in ("__secondary_switched", "secondary_load_task", "scan"):
        debugged.add_breakpoint(name)
    first = {made.text: made.pa for made in debugged.settings.breakpoints.values()}
    places = []
    for _, stop in stops(debugged):
        assert debugged.places.describe(debugged.pe(stop.cpu).pc) == stop.text
        places.append(debugged.code_pa(stop.cpu))
    now = {made.text: made.pa for made in debugged.settings.breakpoints.values()}
    assert now["scan"] == -1
    assert {first["__secondary_switched"], now["__secondary_switched"]} <= set(places)
    assert first["__secondary_switched"] != now["__secondary_switched"]
    kexec = next(at for at in range(debugged.position) if _is_reentry(debugged, at))
    for position, stop in debugged.checker.arrivals_back(debugged.settings):
        assert stop.text != "scan" or position <= kexec


def _is_reentry(debugged: Session, position: int) -> bool:
    return any(record.kind is Kind.REENTRY for record in debugged.log.records_of(position))


# -- events -----------------------------------------------------------------------------------------


_MMU = {
    1: ["mmu: on, at mmu_on"],
    # HVC goes to EL2, whose MMU is off, and ERET back.
    2: ["mmu: on, at mmu_on", "mmu: off, at finalise_el2+0x18", "mmu: on, at hyp_refuse+0x8"],
}


@pytest.mark.parametrize("el", _MMU)
def test_the_event_mmu_is_where_the_mmu_is_switched_by_whatever(el: int) -> None:
    """By no other write to SCTLR, and by a change of the level as well."""
    debugged = session(f"v3 topology=flat:3 el={el}")
    debugged.settings.events.add(EVENTS["mmu"])
    seen: dict[int, list[str]] = {1: [], 2: []}
    now = {cpu: debugged.pe(cpu).mmu_on for cpu in debugged.cpus}
    for _, stop in stops(debugged):
        assert debugged.pe(stop.cpu).mmu_on != now[stop.cpu]
        now[stop.cpu] = debugged.pe(stop.cpu).mmu_on
        seen[stop.cpu].append(stop.text)
    assert seen == {1: _MMU[el], 2: _MMU[el]}
    writes = [row for row in debugged.machine.trace.rows() if row[0] == Kind.MMU and row[2] == 1]
    assert len(writes) > 1, "SCTLR is written more often than the MMU is switched on"


def test_the_event_el_is_where_the_level_changes() -> None:
    debugged = session("v3 topology=flat:2 el=2")
    debugged.settings.events.add(EVENTS["el"])
    texts = [stop.text for _, stop in stops(debugged)]
    assert texts
    assert all(re.match(r"el: EL(\d) to EL(?!\1)\d, at ", text) for text in texts)


# -- leave ------------------------------------------------------------------------------------------


def test_the_event_call_says_which_function_and_who_has_called_it() -> None:
    debugged = session("v3 topology=flat:2")
    debugged.settings.events = {Kind.CALL}
    text = next(stop.text for _, stop in stops(debugged))
    assert re.fullmatch(r"call: CPU_ON64, x1=0x1, at __psci_cpu_on \(emu/host/\S+:\d+\)", text)


def test_the_event_exception_says_what_the_syndrome_does() -> None:
    debugged = session("v3 topology=flat:2 el=2")
    debugged.settings.events = {Kind.EXCEPTION}
    told = [stop.text for _, stop in stops(debugged)]
    assert told == ["exception: to EL2, HVC: #0x0, at finalise_el2_done"]


@pytest.mark.parametrize("text", [*_CASES, "v3 topology=flat:2 fault=1:kill-me"])
def test_no_place_is_told_by_the_number_that_a_trace_has_for_it(text: str) -> None:
    """A host task has no address: its place in a trace record is a number of the trace's own."""
    debugged = session(text)
    debugged.settings.events = set(EVENTS.values())
    told = [stop.text for _, stop in stops(debugged)]
    planted = "call: 0xc000000000000008"
    assert [each for each in [*told, planted] if re.search(r"0xc000000000\w+", each)] == [planted]


def _commands(text: str) -> Commands:
    return Commands(Session(build(Case.parse(text))))


def test_leave_that_falls_asleep_says_so_and_so_does_the_status_line() -> None:
    commands = _commands("v2 topology=flat:3 fault=2:no-52bit-va")
    commands.run("until va52_stuck cpu 2")
    said, where = commands.run("leave")
    assert re.fullmatch(
        r"CPU2 in the loop 0x\w+\.\.0x\w+: asleep in WFE, after 1 instructions, at va52_stuck", said
    )
    assert " CPU2 EL1 MMU off asleep  va52_stuck " in where
    (again, _) = commands.run("leave")
    assert again == "CPU2 cannot go on: asleep in WFE"


@pytest.mark.parametrize("watched", [False, True])
def test_a_breakpoint_in_the_loop_stops_leave(watched: bool) -> None:
    """At full speed and, with a watchpoint, by single steps."""
    commands = _commands("v3 topology=flat:4 nr-cpus=64")
    commands.run("until scan cpu 3")
    if watched:
        commands.run("watch cpu_boot_data[2].status")
    commands.run("break scan+0x4 if x19 == 2 and cpu == 3")
    said, where = commands.run("leave")
    assert said.startswith("breakpoint ")
    assert "scan+0x4" in where
    assert commands.session.pe(3).x[19] == 2
    said, where = commands.run("leave")
    assert said.startswith("left ")


def test_a_watchpoint_stops_leave_behind_the_access() -> None:
    commands = _commands("v3 topology=flat:4 nr-cpus=64")
    commands.run("until scan cpu 3")
    commands.run("watch __cpu_logical_map[2] read cpu 3")
    said, *_ = commands.run("leave")
    assert said == "watchpoint 2: __cpu_logical_map[2], CPU3"
    assert commands.session.pe(3).x[19] == 2


def test_between_two_boots_it_is_said_that_the_next_one_needs_the_scheduler() -> None:
    commands = _commands("v3 topology=flat:3 kexec=v3@1")
    machine = commands.session.machine
    while machine.next_boot is None:
        commands.session.run_to(commands.session.position + 1)
    told = "CPU1 cannot go on: its boot is over; the next one begins where the others are scheduled"
    commands.run("cpu 1")
    assert commands.run("leave")[0] == told
    commands.run("others stand")
    assert commands.run("step")[0] == told
    commands.run("others schedule")
    position = commands.session.position
    commands.run("step")
    assert (commands.session.position, commands.cpu) == (position + 1, 0)


@pytest.mark.parametrize("name", ["find", "__secondary_switched"])
def test_a_return_address_is_of_the_function_that_the_call_is_in(name: str) -> None:
    places = _commands("v3 topology=flat:2").session.places
    va = places.va(places.instruction(name))
    before, _, offset = places.describe(va - 4).partition("+")
    assert before != name
    assert places.describe_return(va) == f"{before}+{int(offset or '0', 16) + 4:#x}"
    assert places.describe_return(va + 4) == f"{name}+0x4" == places.describe(va + 4)
    assert places.describe_return(0x1004) == "0x1004"


# -- planted --------------------------------------------------------------------------------------


def test_a_search_that_stops_where_the_instruction_is_executed_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrivals = StopChecker.arrivals_back

    def executed(self: StopChecker, settings: object) -> Iterator[tuple[int, SessionStop]]:
        log = self._log
        for position, stop in arrivals(self, settings):  # type: ignore[arg-type]
            later = (at for at in range(position, log.position) if log.stepped(at)[0] == stop.cpu)
            yield next(later, position), stop

    monkeypatch.setattr(StopChecker, "arrivals_back", executed)
    with pytest.raises(AssertionError):
        test_forwards_and_backwards_a_breakpoint_names_the_same_position(_CASES[0])

"""A debug session forwards and backwards: where it stops, what it says, and that time travel is exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from travelling import watch

from emu.case import Case
from emu.debug.approach import approach
from emu.debug.checkpoints import Checkpoints, Travelled
from emu.debug.returning import step_out
from emu.debug.session import NEAR_STEPS, Session
from emu.debug.stops import EVENTS, Others
from emu.errors import InvalidCase
from emu.host.build import build
from emu.operation import Kind


def session(text: str = "v3 topology=flat:4", checkpoints: Checkpoints | None = None) -> Session:
    return Session(build(Case.parse(text)), checkpoints)


def session_end() -> int:
    """The position behind the last step."""
    straight = session()
    straight.go_on()
    return straight.position


def registers(debugged: Session) -> list[list[int | str]]:
    """Everything that a step can change in the PEs."""
    return [
        [*debugged.pe(cpu).x, debugged.pe(cpu).pc, debugged.pe(cpu).pstate, debugged.state(cpu)]
        for cpu in debugged.cpus
    ]


def test_a_breakpoint_is_hit_by_name_before_and_after_the_mmu_is_on() -> None:
    debugged = session()
    for name, mmu_on in (("secondary_entry", False), ("__secondary_switched", True)):
        made = debugged.add_breakpoint(name)
        stop = debugged.go_on()
        assert (stop.reason, stop.number, stop.text) == ("breakpoint", made.number, name)
        assert debugged.pe(stop.cpu).mmu_on == mmu_on
        assert debugged.places.describe(debugged.pe(stop.cpu).pc) == name
        debugged.delete(made.number)


@pytest.mark.parametrize("form", ["{pa:#x}", "{va:#x}", "*{va:#x}", "find+0x4"])
def test_an_instruction_has_many_names(form: str) -> None:
    debugged = session()
    subject = debugged.boot.guest.subject
    pa, va = subject.pa("find") + 4, subject.va("find") + 4
    debugged.add_breakpoint(form.format(pa=pa, va=va), cpu=2)
    stop = debugged.go_on()
    assert (stop.reason, stop.cpu) == ("breakpoint", 2)
    assert debugged.places.pa(debugged.pe(2).pc) == pa


@pytest.mark.parametrize("position", [NEAR_STEPS, 2 * NEAR_STEPS, 2 * NEAR_STEPS + 1, 1000])
def test_a_step_back_from_where_one_has_gone_to_runs_few_steps_again(position: int) -> None:
    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        debugged = session("v3 topology=flat:8", checkpoints)
        debugged.begin()
        tell([approach(debugged, position).reason, debugged.position])
        tell(checkpoints.before(position - 1))

    (told, before) = watch(debugger)
    assert told == ["goal", position]
    assert before == (position - NEAR_STEPS if position > 2 * NEAR_STEPS else 0)


def test_a_place_behind_the_end_is_not_gone_to() -> None:
    debugged = session()
    stop = approach(debugged, 1_000_000)
    assert (stop.reason, debugged.position) == ("end", session_end())


def test_a_condition_is_looked_at_on_the_cpu_that_gets_there() -> None:
    debugged = session()
    debugged.add_breakpoint("found", condition="x19 == 3 and hwid == 3")
    stop = debugged.go_on()
    assert stop.cpu == 3
    assert debugged.pe(3).x[19] == 3
    assert debugged.go_on().reason == "end"


def test_a_temporary_breakpoint_stops_once() -> None:
    debugged = session()
    debugged.add_breakpoint("find", temporary=True)
    assert debugged.go_on().reason == "breakpoint"
    assert debugged.settings.breakpoints == {}
    assert debugged.go_on().reason == "end"


def test_a_watchpoint_sees_the_host_and_the_guest() -> None:
    debugged = session()
    made = debugged.add_watchpoint("cpu_boot_data[2].task")
    assert made.size == 8
    stop = debugged.go_on()
    assert (stop.reason, stop.cpu) == ("watchpoint", 0), "the boot CPU hands the task over"
    debugged.delete(made.number)
    read = debugged.add_watchpoint("cpu_boot_data[2].task", access="read")
    stop = debugged.go_on()
    assert (stop.cpu, stop.number) == (2, read.number)
    assert debugged.places.describe(debugged.pe(2).pc).startswith("secondary_load_task")


def test_change_is_a_write_of_another_value() -> None:
    debugged = session("mainline topology=flat:3")
    debugged.add_watchpoint("secondary_data.status", access="change")
    values = []
    while debugged.go_on().reason == "watchpoint":
        values.append(
            int.from_bytes(debugged.loads.memory(*debugged.places.data("secondary_data.status")), "little")
        )
    assert values, "it does change"
    assert all(before != after for before, after in zip(values, values[1:], strict=False))


@pytest.mark.parametrize("event", ["call", "mmu", "land", "power-on", "log"])
def test_a_session_stops_at_events(event: str) -> None:
    debugged = session()
    debugged.settings.events.add(EVENTS[event])
    stop = debugged.go_on()
    assert stop.reason == "event"
    assert stop.text.startswith(f"{event}: ")


def test_a_step_is_one_instruction_and_the_others_do_as_they_are_told() -> None:
    debugged = session()
    debugged.add_breakpoint("find", cpu=1)
    debugged.go_on()
    for others, expected in ((Others.STAND, False), (Others.SCHEDULE, True)):
        debugged.settings.others = others
        pc = debugged.pe(1).pc
        before = [debugged.pe(cpu).counters.instructions for cpu in (1, 2, 3)]
        assert debugged.step(1).reason == "step"
        after = [debugged.pe(cpu).counters.instructions for cpu in (1, 2, 3)]
        assert debugged.pe(1).pc == pc + 4
        assert after[0] == before[0] + 1
        assert (after[1:] != before[1:]) == expected


def test_a_cpu_that_cannot_go_on_says_so() -> None:
    debugged = session()
    debugged.settings.others = Others.STAND
    stop = debugged.step(3)
    assert stop.text == "CPU3 cannot go on: off"


def test_an_operation_is_what_others_can_observe() -> None:
    debugged = session()
    debugged.add_breakpoint("find", cpu=1)
    debugged.go_on()
    debugged.step_operation(1)
    cpu, pc = debugged.log.stepped(debugged.position - 1)
    kinds = [debugged.log.row(index).kind for index in debugged.log.rows_of(debugged.position - 1)]
    assert cpu == 1
    assert kinds == [Kind.LOAD]
    assert debugged.places.describe(pc) == "scan"


def test_out_of_a_function() -> None:
    debugged = session()
    debugged.add_breakpoint("__cpu_setup", cpu=1)
    debugged.go_on()
    back = debugged.places.pa(debugged.pe(1).x[30])
    step_out(debugged, 1)
    assert debugged.places.pa(debugged.pe(1).pc) == back


def test_leaving_a_loop_costs_no_step_of_the_others_and_ends_behind_it() -> None:
    debugged = session("v3 topology=flat:4 nr-cpus=4096")
    debugged.add_breakpoint("scan", cpu=3, temporary=True)
    debugged.go_on()
    others = [debugged.pe(cpu).counters.instructions for cpu in (1, 2)]
    stop = debugged.leave_loop(3)
    assert debugged.places.describe(debugged.pe(3).pc) == "found"
    assert "left" in stop.text
    assert [debugged.pe(cpu).counters.instructions for cpu in (1, 2)] == others
    assert debugged.log.stepped(debugged.position - 1)[0] == 3


def test_who_wrote_a_word_last_is_known_without_going_there() -> None:
    debugged = session()
    debugged.run_to(10_000)
    pa, size = debugged.places.data("cpu_boot_data[2].status")
    found = debugged.log.last_write(pa, size)
    assert found is not None
    position, record = found
    assert record.actor == 2, "update_cpu_boot_status() on the CPU itself"
    assert record.value == 0
    earlier = debugged.log.last_write(pa, size, before=position)
    assert earlier is not None
    assert (earlier[1].actor, earlier[1].value) == (0, 2**64 - 1), "CPU_MMU_OFF, by the boot CPU"
    assert debugged.boot.machine.trace.location(earlier[1].pc) is not None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nosuch", "no symbol nosuch"),
        ("find+x", "a place is"),
        ("my.S:1", "no instruction of the subject is from that line"),
        ("0x1ffffffffffffffff", "64 bits"),
        ("", "a place is"),
    ],
)
def test_places_that_are_none_are_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidCase, match=says):
        session().add_breakpoint(text)


@pytest.mark.parametrize("text", ["cpu_boot_data[1].colour", "nosuch[1]", "a b", "find."])
def test_data_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidCase):
        session().add_watchpoint(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("0x10 | 1", 17),
        ("x0 == x0 and not 0", 1),
        ("cpu", 1),
        ("hwid == 1", 1),
        ("u32[__boot_cpu_mode] == 0xe11 or u32[__boot_cpu_mode + 4] == 0xe11", 1),
        ("[cpu_boot_data + 16] != 0", 1),
        ("-1 == 0xffffffffffffffff", 1),
        ("1 < 2 < 3", 1),
        ("1 << 65", 2),
    ],
)
def test_expressions(text: str, value: int) -> None:
    debugged = session()
    debugged.add_breakpoint("find", cpu=1)
    debugged.go_on()
    assert debugged.evaluate(text, 1) == value


@pytest.mark.parametrize(
    "text", ["", "x99", "import os", "().__class__", "[0]", "x0(", "a" * 300, "u8", "x0 ** 9"]
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(InvalidCase):
        session().evaluate(text, 1)


def test_backwards_and_forwards_again_is_the_same_machine() -> None:
    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        debugged = session("v3 topology=flat:8", checkpoints)
        seen: dict[str, Any] = {}
        try:
            debugged.begin()
            for position in (300, 301, 900, 1200):
                debugged.run_to(position)
                seen[str(position)] = registers(debugged)
            debugged.go_back(299, [seen, [301, 300]])
        except Travelled as back:
            seen, left = debugged.arrive(back.target, back.payload)
            if left:
                for position in (300, 301, 900):
                    debugged.run_to(position)
                    tell(registers(debugged) == seen[str(position)])
                debugged.go_back(left[0], [seen, left[1:]])
            tell(debugged.position)

    told = watch(debugger)
    assert told[:3] == [True] * 3
    assert told[-1] == 300


def test_steps_that_were_forced_are_done_again_in_the_same_way() -> None:
    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        debugged = session("v3 topology=flat:4", checkpoints)
        try:
            debugged.begin()
            debugged.add_breakpoint("find", cpu=2)
            debugged.go_on()
            debugged.settings.others = Others.STAND
            for _ in range(20):
                debugged.step(2)
            tell([debugged.position, registers(debugged)])
            debugged.go_back(debugged.position - 15, debugged.position)
        except Travelled as back:
            position = debugged.arrive(back.target, back.payload)
            debugged.run_to(position)
            tell([debugged.position, registers(debugged)])

    first, again = watch(debugger)
    assert first == again


@pytest.mark.parametrize("others", [Others.STAND, Others.FREE])
@pytest.mark.parametrize("leaves", [False, True])
def test_another_course_from_an_earlier_position_has_nothing_of_the_one_before(
    others: Others, leaves: bool
) -> None:
    """Steps out of their turn that were made behind it then are not made in it."""

    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        debugged = session("v3 topology=flat:4 nr-cpus=64", checkpoints)
        try:
            debugged.begin()
            debugged.add_breakpoint("scan", cpu=2, temporary=True)
            debugged.go_on()
            start = debugged.position
            debugged.settings.others = Others.STAND
            for _ in range(600):
                debugged.step(2)
            debugged.go_back(start, start)
        except Travelled as back:
            debugged.arrive(back.target, back.payload)
            course(debugged)
            tell(list(map(debugged.log.stepped, range(debugged.position))))
            tell(registers(debugged))

    def course(debugged: Session) -> None:
        debugged.settings.others = others
        debugged.leave_loop(1) if leaves else debugged.step(1)
        debugged.step(3)
        debugged.settings.others = Others.SCHEDULE
        for _ in range(20):
            debugged.step(1)

    told = watch(debugger)
    straight = session("v3 topology=flat:4 nr-cpus=64")
    straight.add_breakpoint("scan", cpu=2, temporary=True)
    straight.go_on()
    course(straight)
    steps = map(straight.log.stepped, range(straight.position))
    assert told == [list(map(list, steps)), registers(straight)]


def test_the_last_stop_before_here_is_found_in_the_log() -> None:
    debugged = session()
    debugged.run_to(700)
    debugged.add_breakpoint("find", cpu=2)
    position, stop = debugged.find_stop_back()
    assert stop.reason == "breakpoint"
    assert debugged.log.stepped(position - 1)[0] == 2, "it arrives by its own step"
    cpu, pc = next(step for at in range(position, 700) if (step := debugged.log.stepped(at))[0] == 2)
    assert (cpu, debugged.places.describe(pc)) == (2, "find")
    debugged.settings.breakpoints.clear()
    debugged.add_watchpoint("cpu_boot_data[1].task")
    position, stop = debugged.find_stop_back()
    assert (stop.reason, debugged.log.stepped(position)[0]) == ("watchpoint", 0)
    debugged.settings.watchpoints.clear()
    assert debugged.find_stop_back()[0] == 0

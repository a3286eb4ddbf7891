"""Functions of the kernel that the host plays, by name: breakpoints, backtraces, places in a trace."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from emu.arch.mpidr import INVALID_HWID
from emu.case import Case
from emu.debug.commands import Commands
from emu.debug.session import Session
from emu.errors import InvalidCase
from emu.host.build import build
from emu.host.played import frames, function_at
from emu.host.played_names import played_names
from emu.machine.actor import location
from emu.operation import Store

PEN = "v3 topology=flat:3 enable-method=spin-table"
CHAIN = [
    "write_pen_release",
    "smp_spin_table_cpu_boot",
    "boot_secondary",
    "__cpu_up",
    "bringup_cpu",
    "cpuhp_invoke_callback",
    "__cpuhp_invoke_callback_range",
    "cpuhp_invoke_callback_range",
    "cpuhp_up_callbacks",
    "_cpu_up",
    "cpu_up",
    "cpuhp_bringup_mask",
    "bringup_nonboot_cpus",
    "smp_init",
]


def session(text: str = PEN) -> Session:
    return Session(build(Case.parse(text)))


def stops(debugged: Session) -> list[tuple[int, int, str]]:
    """Every breakpoint stop up to the end: position, CPU, place."""
    found = []
    while (stop := debugged.go_on()).reason == "breakpoint":
        found.append((debugged.position, stop.cpu, stop.text))
    assert stop.reason == "end"
    return found


def test_the_call_chain_of_a_kick_has_the_names_of_the_kernel() -> None:
    debugged = session()
    debugged.add_breakpoint("write_pen_release")
    assert debugged.go_on().reason == "breakpoint"
    task = debugged.machine.actors[0].task
    assert [frame.kernel for frame in frames(task) if frame.kernel] == CHAIN


def test_a_breakpoint_stops_each_time_a_host_task_enters_the_function_and_not_within_it() -> None:
    debugged = session()
    debugged.add_breakpoint("write_pen_release")
    stored = []
    while (stop := debugged.go_on()).reason == "breakpoint":
        pending = debugged.machine.actors[stop.cpu].pending
        assert isinstance(pending, Store), "the first operation of the function is the next one"
        stored.append((stop.cpu, pending.value))
    assert stored == [(0, 1), (0, INVALID_HWID), (0, 2), (0, INVALID_HWID)]


def test_a_breakpoint_on_an_outer_function_is_hit_at_the_same_place_as_one_on_the_inner() -> None:
    found = []
    for name in ("boot_secondary", "smp_spin_table_cpu_boot"):
        debugged = session()
        debugged.add_breakpoint(name)
        found.append([position for position, *_ in stops(debugged)])
    assert found[0] == found[1]
    assert len(found[0]) == 2


@pytest.mark.parametrize("name", ["cpuhp_ap_sync_alive", "secondary_start_kernel", "cpu_startup_entry"])
def test_functions_of_secondaries_stop_on_their_own_cpu(name: str) -> None:
    debugged = session("v3 topology=flat:3")
    debugged.add_breakpoint(name)
    assert sorted(cpu for _, cpu, _ in stops(debugged)) == [1, 2]


def test_a_breakpoint_for_one_cpu_and_a_temporary_one_stop_once() -> None:
    debugged = session("v3 topology=flat:3")
    debugged.add_breakpoint("cpuhp_ap_sync_alive", cpu=2)
    debugged.add_breakpoint("cpu_up", temporary=True)
    assert sorted((cpu, text) for _, cpu, text in stops(debugged)) == [
        (0, "cpu_up"),
        (2, "cpuhp_ap_sync_alive"),
    ]


def test_going_back_stops_at_the_positions_at_which_going_forwards_has_stopped() -> None:
    debugged = session()
    for name in ("write_pen_release", "bringup_wait_for_ap_online"):
        debugged.add_breakpoint(name)
    forwards = [(position, cpu) for position, cpu, _ in stops(debugged)]
    backwards = []
    while (found := debugged.find_stop_back())[1].reason == "breakpoint":
        backwards.append((found[0], found[1].cpu))
        again = session()
        again.settings.breakpoints = debugged.settings.breakpoints
        again.run_to(found[0])
        debugged = again
    assert backwards == forwards[::-1]


def test_a_function_of_a_task_that_another_cpu_has_woken_is_entered_too() -> None:
    """Firmware's loop goes on by the SEV of the boot CPU, in a step that is not its own."""
    debugged = session()
    debugged.add_breakpoint("smp_spin_table_cpu_prepare")
    assert len(stops(debugged)) == 2


def test_a_name_that_neither_the_subject_nor_the_host_has_is_refused() -> None:
    with pytest.raises(InvalidCase, match="no symbol write_pen_releas in v3"):
        session().add_breakpoint("write_pen_releas")


def test_a_function_that_this_boot_does_not_call_is_known_and_never_entered() -> None:
    debugged = session("v3 topology=flat:2")
    debugged.add_breakpoint("write_pen_release")
    assert not stops(debugged)


def test_backtrace_has_both_columns() -> None:
    commands = Commands(session())
    commands.run("break write_pen_release")
    commands.run("continue")
    rows = commands.run("backtrace")
    assert [row.split()[1] for row in rows if row.split()[1] != "-"] == CHAIN
    assert rows[0].split()[2:] == [
        "_write_pen_release",
        f"({location(commands.session.machine.actors[0].task)})",
    ]
    assert len(commands.run("backtrace 3")) == 3


@pytest.mark.parametrize("text", [PEN, "v3 topology=flat:3 cycle=1"])
def test_a_place_in_a_trace_has_the_name_that_the_backtrace_begins_with(text: str) -> None:
    """The one is read from the source, the other from the task that runs."""
    debugged = session(text)
    seen = set()
    while debugged.run_to(debugged.position + 1).reason != "end":
        for actor in debugged.machine.actors:
            if actor.task is not None:
                innermost = frames(actor.task)[0]
                assert function_at(location(actor.task)) == innermost.shown
                seen.add(innermost.kernel)
    assert len(seen) > 8


def test_every_function_that_plays_one_yields_operations_and_names_a_file_of_the_kernel() -> None:
    root, found = Path(__file__).parents[2] / "emu" / "host", 0
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for each in getattr(node, "decorator_list", ()):
                if isinstance(each, ast.Call) and getattr(each.func, "id", "") == "plays":
                    found += 1
                    assert any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in ast.walk(node)), (
                        node.name
                    )
                    names, file = (argument.value for argument in each.args)
                    assert file.partition("/")[0] in ("arch", "kernel"), node.name
                    assert names.split()
                    assert set(names.split()) <= played_names()
    assert found > 30


@pytest.mark.parametrize("command", ["break", "until"])
def test_of_a_function_that_the_host_plays_nobody_says_that_no_path_leads_there(command: str) -> None:
    said = Commands(session("v3 topology=flat:2")).run(f"{command} cpuhp_online_idle")
    assert not [line for line in said if "no path" in line]
    assert [line for line in Commands(session()).run("break secondary_start_kernel+8") if "no path" in line]


def test_locals_are_the_same_in_every_process_and_have_names_of_the_kernel() -> None:
    commands = Commands(session())
    commands.run("until boot_secondary")
    rows = commands.run("locals")
    assert ["boot_secondary", "cpu", "=", "1"] in [row.split() for row in rows]
    assert any(row.split()[0] == "smp_init" and row.endswith("secondaries = [1, 2]") for row in rows)
    assert not [row for row in rows if " at 0x" in row], "an address of this process"
    commands.run("until secondary_startup cpu 1")
    with pytest.raises(InvalidCase, match="CPU1 runs no host task: regs"):
        commands.run("locals")

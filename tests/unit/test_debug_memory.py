"""What the debugger's commands say of memory: by whom it is seen, its width, who has written it."""

from __future__ import annotations

import re

import pytest

from emu.case import Case
from emu.debug.commands import Commands
from emu.debug.edits import Edit
from emu.debug.session import Session
from emu.errors import InvalidCase
from emu.host.build import build

_NO_CLEAN = "v3 topology=flat:3 memory=caches fault=2:no-clean"
_KEXEC = "v3 topology=flat:3 kexec=v3@1"


def commands_of(text: str) -> Commands:
    return Commands(Session(build(Case.parse(text))))


@pytest.fixture
def stale() -> Commands:
    """CPU2 scans the table with its MMU off, and its entry is not cleaned."""
    commands = commands_of(_NO_CLEAN)
    commands.run("until scan cpu 2")
    return commands


def test_a_line_is_found_by_the_name_of_any_word_in_it(stale: Commands) -> None:
    """cpu_boot_data[2].status is the sixth word of a line that begins with cpu_boot_data[0].task."""
    pa, _ = stale.session.places.data("cpu_boot_data[2].status")
    rows = stale.run("lines data[2].status")
    assert rows[0] == f"{pa & -64:#x} cpu_boot_data[0].task: dirty, has cpu_boot_data[2].status"
    assert any(line.startswith(f"  {pa:#x} cpu_boot_data[2].status: ") for line in rows)
    assert stale.run("lines cpu_boot_data[0].task")[0] == f"{pa & -64:#x} cpu_boot_data[0].task: dirty"
    assert stale.run("lines data[2].nothing") == ["none"]


def test_words_of_a_line_are_told_apart(stale: Commands) -> None:
    """cpu_online[1] is one byte beside others: its value is that of none of them."""
    session = stale.session
    known = {word.pa: word for word in session.places.words}
    rows = [row.split()[:3] for row in stale.run("lines dirty") if row.startswith("  ")]
    named = [(int(pa, 16), name.rstrip(":"), int(value.rstrip(","), 16)) for pa, name, value in rows]
    found = [(pa, name, value) for pa, name, value in named if pa in known]
    assert {name.partition("[")[0] for _, name, _ in found} >= {"cpu_online", "ap_sync_state"}
    for pa, name, value in found:
        assert name == known[pa].name
        cached = session.machine.model.seen(0, pa, known[pa].size, True)  # type: ignore[union-attr]
        assert value == int.from_bytes(cached, "little"), name


def test_an_address_without_a_name_stands_there_once(stale: Commands) -> None:
    rows = [row for row in stale.run("lines") if not row.startswith(" ")]
    named = [row.partition(":")[0].split() for row in rows]
    assert any(len(names) == 1 for names in named)
    assert not [names for names in named if len(names) == 2 and names[0] == names[1]]
    assert stale.run("x 0x40000008") == ["0x40000008: 0x0000000000000000"]


@pytest.mark.parametrize(
    "line", ["lines", "search 1", "vas cpu_boot_data", "vas cpu_boot_data all", "findings"]
)
def test_what_may_take_long_ends_when_it_is_interrupted(stale: Commands, line: str) -> None:
    stale.run("until __secondary_switched cpu 1")
    before = stale.run(line)
    stale.session.interrupted = lambda: True
    with pytest.raises(InvalidCase) as said:
        stale.run(line)
    assert str(said.value) == "interrupted"
    stale.session.interrupted = lambda: False
    assert stale.run(line) == before, "and changes nothing"


def test_what_lies_in_a_task_or_a_stack_has_its_name() -> None:
    commands = commands_of("v3 topology=flat:2")
    commands.run("until secondary_start_kernel cpu 1")
    assert re.fullmatch(r"0x\w+ CPU1's stack\+0x\w+: 0x0{16}", commands.run("x sp")[0])
    commands.run("set [sp] = [cpu_boot_data + 16]")
    assert commands.run("stack 1")[0].endswith("  CPU1's task+0x0")


# -- as the selected CPU sees it -------------------------------------------------------------------------


def test_every_command_shows_what_the_selected_cpu_would_load(stale: Commands) -> None:
    for cpu, value, meaning in ((2, 2**64 - 1, "nobody"), (0, 2, "CPU2")):
        stale.run(f"cpu {cpu}")
        assert stale.run("x __cpu_logical_map[2]")[0].endswith(f": {value:#018x}  {meaning}")
        assert stale.run("print [__cpu_logical_map + 16]") == [f"{value:#x} ({value})"]
        assert stale.run("data logical_map[2]") == [f"__cpu_logical_map[2] {value:#x}  {meaning}"]
        assert stale.run("who-wrote __cpu_logical_map[2]")[0].endswith(f" is {value:#x}")


def test_a_condition_is_one_of_the_cpu_that_gets_there() -> None:
    commands = commands_of(_NO_CLEAN)
    commands.run("break found if [__cpu_logical_map + 16] == 2")
    assert commands.run("continue")[0].startswith("the end"), "with the MMU off it is not 2"
    commands = commands_of(_NO_CLEAN)
    commands.run("break found if [__cpu_logical_map + 16] != 2 and cpu == 1")
    assert commands.run("continue")[0] == "breakpoint 1: found, CPU1"


def test_all_shows_memory_the_line_and_each_view_that_differs(stale: Commands) -> None:
    rows = stale.run("x __cpu_logical_map[2] --all")
    assert rows[1:] == [
        "  memory has 0xffffffffffffffff  nobody",
        "  its line: dirty",
        "  CPU0 would load 0x0000000000000002  CPU2",
        "  CPU1..CPU2 would load 0xffffffffffffffff  nobody",
    ]
    assert stale.run("x --all __boot_cpu_mode")[1:4] == [
        "  memory has 0x00000e11  EL1",
        "  its line: absent",
        "  all CPUs load this",
    ]


def test_coherent_memory_has_no_lines() -> None:
    rows = commands_of("v3 topology=flat:2").run("x vabits_actual --all")
    assert rows[2:] == ["  memory is coherent: no lines", "  all CPUs load this"]


def test_a_store_past_the_caches_is_a_change() -> None:
    """Though CPUs with caches on would not see it."""
    commands = commands_of("v2 topology=flat:3 memory=caches fault=2:no-52bit-va")
    commands.run("watch __early_cpu_boot_status change cpu 2")
    (said, _, where) = commands.run("continue")
    assert said == "watchpoint 1: __early_cpu_boot_status, CPU2"
    assert "MMU off" in where
    assert commands.run("x __early_cpu_boot_status")[0].endswith("stuck in kernel, no 52-bit VA")


@pytest.mark.parametrize("cpu", [0, 2])
def test_what_the_user_writes_is_seen_by_all_and_stays(stale: Commands, cpu: int) -> None:
    session = stale.session
    pa, size = session.places.data("__cpu_logical_map[2]")
    session.edit(Edit(pa, (5).to_bytes(8, "little")))
    assert [view.data for view in session.loads.views(pa, size)] == [(5).to_bytes(8, "little")]
    session.run_to(session.position + 1)
    assert session.loads.load_data(cpu, pa, size) == (5).to_bytes(8, "little")
    assert stale.run("x __cpu_logical_map[1]")[0].endswith("0x0000000000000001  CPU1"), "of the same line"


def test_a_cpu_that_is_off_has_its_mmu_off() -> None:
    commands = commands_of(_NO_CLEAN)
    commands.run("until secondary_entry cpu 1")
    assert commands.session.state(2) == "off"
    commands.run("cpu 2")
    assert commands.run("x __cpu_logical_map[2]")[0].endswith("nobody")


# -- its width -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "values"),
    [
        ("__boot_cpu_mode", ["0x00000e11", "0x00000e11"]),
        ("__boot_cpu_mode+4", ["0x00000e11"]),
        ("cpu_boot_data[2]", ["0xffff800080400100", "0x0000000000000000"]),
        ("cpu_boot_data[2].task", ["0xffff800080400100"]),
        ("cpu_online[2]", ["0x01"]),
        ("ap_sync_state[2]", ["0x00000005"]),
        ("mailbox[1]", ["0x00000000ffffffff", "0x0000000000000000"]),
        ("__cpu_logical_map 3", ["0x0000000000000000", "0x0000000000000001", "0x0000000000000002"]),
        ("ap_sync_state[1] 2", ["0x00000005", "0x00000000"]),
    ],
)
def test_words_have_the_width_that_they_have(data: str, values: list[str]) -> None:
    commands = commands_of("v3 topology=flat:3")
    commands.run("continue")
    shown = [row.split(": ")[1].split("  ")[0] for row in commands.run(f"x {data}")]
    assert [len(value) for value in shown] == [len(value) for value in values]
    if data not in ("mailbox[1]", "ap_sync_state[1] 2"):
        assert shown == values


def test_values_of_more_than_64_bits_are_not_run_together() -> None:
    commands = commands_of("v3 topology=flat:3")
    commands.run("continue")
    assert commands.run("who-wrote cpu_boot_data[2]")[0].endswith("16 bytes) is 0xffff800080400100 0x0")
    assert commands.run("who-wrote __boot_cpu_mode")[0].endswith("8 bytes) is 0xe11 0xe11")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x", "DATA is missing"),
        ("x --all", "DATA is missing"),
        ("x 0x10", "0x10: no memory there"),
    ],
)
def test_what_is_no_memory_is_one_line(line: str, message: str) -> None:
    with pytest.raises(InvalidCase) as error:
        commands_of("v3 topology=flat:2").run(line)
    assert str(error.value) == message


# -- what the host copies ---------------------------------------------------------------------------------


def test_kexec_s_copies_are_stores_with_their_values() -> None:
    commands = commands_of(_KEXEC)
    commands.run("continue")
    subject = commands.session.boot.guest.subject
    word = int.from_bytes(subject.segments[0].data[:8], "little")
    lines = commands.run(f"who-wrote {subject.segments[0].pa:#x} 2")
    assert f" CPU1 copied {word:#x}, before" in lines[1]
    assert lines[1].endswith(", before: as at the start")
    assert "emu/host/kexec.py:" in lines[2]


def test_what_the_host_sets_up_for_the_next_boot_is_told_too() -> None:
    commands = commands_of(_KEXEC)
    commands.run("continue")
    lines = commands.run("who-wrote cpu_online[2] 4")
    told = [line.split(" ", 3)[3:] for line in lines[1:] if line.startswith("  #")]
    assert told == [
        ["CPU2 stored 0x1, before: 0x0"],
        ["CPU0 copied 0x0, before: 0x0"],
        ["CPU2 stored 0x0, before: 0x1"],
        ["CPU2 stored 0x1, before: as at the start"],
    ]
    assert "    at the set-up of the next boot, by the host" in lines


def test_a_watchpoint_stops_at_each_of_them_forwards_and_backwards() -> None:
    commands = commands_of(_KEXEC)
    commands.run("watch cpu_online[1]")
    stops = []
    while not (said := commands.run("continue"))[0].startswith("the end"):
        stops.append((commands.session.position, said[0]))
    values = [
        commands.session.log.last_write(*commands.session.places.data("cpu_online[1]"), before=at)
        for at, _ in stops
    ]
    assert [found and found[1].value for found in values] == [1, 0, 1]
    position, stop = commands.session.find_stop_back()
    assert (position + 1, stop.reason) == (stops[-1][0], "watchpoint")


def test_the_last_write_before_any_position_is_what_memory_has_there() -> None:
    """Of each shared word, through the copies of kexec: nothing writes that is no store."""
    session = Session(build(Case.parse(_KEXEC)))
    words = [(word.pa, word.size) for word in session.places.words]
    start = {pa: session.loads.memory(pa, size) for pa, size in words}
    while session.run_to(session.position + 7).reason != "end":
        for pa, size in words:
            expected, found = int.from_bytes(start[pa], "little"), session.log.last_write(pa, size)
            if found is not None and (found[1].pa, found[1].size) == (pa, size):
                expected = found[1].value
            elif found is not None:
                continue  # a part of it
            assert int.from_bytes(session.loads.memory(pa, size), "little") == expected, (
                session.position,
                hex(pa),
            )

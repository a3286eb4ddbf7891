"""The debugger's commands, each on a session of a whole boot; going back is tests/spec/test_step.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_sessions import commands_on
from nested_lookup import write_nested

from emu.arch import a64
from emu.debug.commands import Commands, GoBack, Quit
from emu.debug.frames import backtrace
from emu.errors import InvalidCase
from emu.operation import Kind


@pytest.fixture
def commands() -> Commands:
    return commands_on()


def test_a_blank_line_and_a_comment_do_nothing(commands: Commands) -> None:
    assert commands.run("") == commands.run("  # step") == []
    assert commands.session.position == 0


def test_until_stops_at_a_place_whatever_the_mmu_does(commands: Commands) -> None:
    (line,) = commands.run("until secondary_entry")
    assert "CPU1 EL1 MMU off  secondary_entry (asm/boot/secondary_entry.S:15)" in line
    (line,) = commands.run("until __secondary_switched")
    assert "EL1 MMU on  __secondary_switched " in line
    assert commands.run("info breakpoints") == ["none"]


def test_step_lets_the_cpu_do_so_many_instructions(commands: Commands) -> None:
    commands.run("until secondary_entry")
    before = commands.session.pe(1).counters.instructions
    commands.run("step 3")
    assert commands.session.pe(1).counters.instructions == before + 3


def test_a_breakpoint_may_be_for_one_cpu_and_have_a_condition(commands: Commands) -> None:
    commands.run("break secondary_startup cpu 3")
    lines = commands.run("continue")
    assert lines[0] == "breakpoint 1: secondary_startup, CPU3"
    assert commands.cpu == 3
    commands.run("delete 1")
    commands.run("break __secondary_switched if cpu == 2 and x20 == 0xe11")
    assert commands.run("c")[0] == "breakpoint 2: __secondary_switched, CPU2"
    assert commands.run("info b") == ["2 break __secondary_switched if cpu == 2 and x20 == 0xe11 (1 hits)"]


def test_a_breakpoint_on_a_source_line(commands: Commands) -> None:
    (line,) = commands.run("break secondary_entry.S:15")
    assert line.endswith("secondary_entry (asm/boot/secondary_entry.S:15)")


@pytest.mark.parametrize("place", ["", "until __secondary_switched cpu 1", "continue"])
def test_what_is_shown_fits_80_columns(place: str) -> None:
    """But for lines of the source, and what is one line for whoever reads it: a stop, an operation."""
    commands = commands_on("mainline", memory="caches", topology="smt:4", fault="2:never-starts")
    commands.run(place)
    shown = (
        "cpus regs state data dmesg findings help lines backtrace|regs system *|regs system TCR_EL1|info cpus"
    )
    shown += (
        "|info breakpoints|info events|x __boot_cpu_mode --all|search u64 0|who-wrote cpu_online[0] 3|others"
    )
    lines = [*shown.partition("|")[0].split(), *shown.partition("|")[2].split("|")]
    long = [row for line in lines for row in commands.run(line) if len(row) > 80]
    assert not long


def test_toggle_sets_a_breakpoint_here_and_deletes_it(commands: Commands) -> None:
    commands.run("until secondary_entry")
    assert commands.run("toggle")[0].startswith("breakpoint 2 at PA 0x")
    assert commands.run("disas")[5].startswith(">b ")
    assert commands.run("toggle") == ["breakpoint 2 deleted"]


def test_a_watchpoint_says_what_was_done_and_by_whom(commands: Commands) -> None:
    commands.run("watch cpu_boot_data[3].task")
    lines = commands.run("c")
    assert lines[0] == "watchpoint 1: cpu_boot_data[3].task, CPU0"
    assert "CPU0 stores 0xffff800080400180 to cpu_boot_data[3].task" in lines[1]
    commands.run("delete")
    commands.run("watch cpu_boot_data[3].task read")
    lines = commands.run("c")
    assert lines[0].endswith("CPU3")
    assert "loads" in lines[1]


def test_the_host_s_words_have_names_too(commands: Commands) -> None:
    commands.run("watch ap_sync_state[2] change")
    assert "ap_sync_state[2]" in commands.run("c")[0]
    assert commands.run("x ap_sync_state[2]")[0].endswith("kicked")


def test_events_stop_it(commands: Commands) -> None:
    assert "* mmu" in commands.run("events mmu")
    (line, where) = commands.run("c")
    assert line == "CPU1: mmu: on, at mmu_on"
    assert commands.run("events none")[0] == "  exception"


def test_leave_crosses_the_loop_of_the_lookup(commands: Commands) -> None:
    commands.run("until scan cpu 3")
    lines = commands.run("leave")
    assert lines[0].startswith("left 0x")
    assert " found " in lines[1]


def test_other_selects_the_cpu_that_acts(commands: Commands) -> None:
    commands.run("until secondary_startup")
    before = commands.cpu
    commands.run("other")
    assert commands.cpu != before


def test_who_wrote_names_cpu_pc_and_line(commands: Commands) -> None:
    assert commands.run("who-wrote __early_cpu_boot_status[2]")[1] == "  nobody has, since the start"
    commands.run("c")
    lines = commands.run("who-wrote cpu_boot_data[2].task")
    assert lines[0].endswith("is 0xffff800080400100")
    assert lines[1].split(" stored ")[1] == "0xffff800080400100, before: as at the start"
    assert "emu/host/" in lines[2]


def test_registers_that_changed_are_marked(commands: Commands) -> None:
    commands.run("until secondary_entry")
    commands.run("step")
    marked = [cell for line in commands.run("regs") for cell in line.split("  ") if cell.startswith("*")]
    assert [cell.split()[0] for cell in marked] == ["*PC"]


def test_boot_data_is_decoded_by_field(commands: Commands) -> None:
    commands.run("c")
    rows = commands.run("data")
    assert "cpu_boot_data[2].task         0xffff800080400100  CPU2's idle task" in rows
    assert "__cpu_logical_map[3]          0x3  CPU3" in rows
    assert "ap_sync_state[3]              0x5  online" in rows
    assert commands.run("data logical_map[1]") == ["__cpu_logical_map[1] 0x1  CPU1"]


def test_a_failure_s_status_is_decoded() -> None:
    commands = commands_on(fault="2:no-granule")
    commands.run("c")
    (line,) = commands.run("data early_cpu_boot_status[2]")
    assert line == "__early_cpu_boot_status[2] 0x202  stuck in kernel, no granule"


def test_findings_change_nothing(commands: Commands) -> None:
    commands.run("until scan")
    trace = commands.session.machine.trace
    before = list(trace.rows()), list(trace.strings)
    assert any(line.startswith("(arrival) CPU3") for line in commands.run("findings"))
    assert (list(trace.rows()), list(trace.strings)) == before
    commands.run("c")
    assert commands.run("findings") == ["none"]


def test_print_evaluates_on_the_selected_cpu(commands: Commands) -> None:
    commands.run("until secondary_entry")
    assert commands.run("print cpu + 0x10") == ["0x11 (17)"]
    assert commands.run("cpu 2")[0].startswith("#")
    assert commands.run("p cpu") == ["0x2 (2)"]


def test_the_lists_have_a_row_for_each_cpu(commands: Commands) -> None:
    commands.run("until secondary_startup")
    rows = commands.run("info cpus")
    assert len(rows) == 5
    assert rows[2] == "* 1   0x1          runs     1  off  secondary_startup (secondary_startup.S:15)"


def test_the_log_and_dmesg_grow(commands: Commands) -> None:
    assert commands.run("log") == ["nothing yet"]
    commands.run("c")
    assert len(commands.run("log 7")) == 7
    assert commands.run("dmesg")[-1].endswith("CPU: All CPU(s) started at EL1")


def test_source_is_shown_of_guest_and_host(commands: Commands) -> None:
    assert any(line.startswith("> ") and "yield" in line for line in commands.run("list"))
    commands.run("until secondary_entry")
    assert any(line.startswith(">   15 ") for line in commands.run("list"))


def test_going_back_is_for_the_front_end(commands: Commands) -> None:
    commands.run("until secondary_entry")
    position = commands.session.position
    for line in ("goto 3", "goto #3", "back-op", "rcontinue", "cpu 0", "back 2"):
        if line.startswith("cpu"):
            commands.run(line)
            continue
        if line == "back-op":
            commands.run("cpu 0")
        with pytest.raises(GoBack) as found:
            commands.run(line)
        assert found.value.position < position
    with pytest.raises(Quit):
        commands.run("quit")


def test_the_end_is_said() -> None:
    commands = commands_on(topology="flat:2")
    assert commands.run("c")[0] == "the end: nobody can go on"
    assert commands.session.ended


def test_every_command_is_in_the_help(commands: Commands) -> None:
    listed = "\n".join(commands.run("help"))
    assert all(name in listed for name in commands.names)
    first, *more = commands.run("help step")
    assert first.startswith("step|s|stepi|si [N]  ")
    assert all(line.startswith(24 * " ") for line in more)
    assert max(map(len, commands.run("help"))) <= 79


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ste", "ste: no such command; did you mean step, stepi?"),
        ("fly", "fly: no such command; try help"),
        ("step x", "x: N is a number"),
        ("step 0", "0: N is at least 1"),
        ("break", "CPU0 runs a host task: name a place"),
        ("break nowhere", "nowhere: no symbol nowhere in v3"),
        ("break nowhere.S:3", "nowhere.S:3: no instruction of the subject is from that line"),
        ("break secondary_entry cpu 9", "cpu 9: there are 4, from 0 on"),
        ("break secondary_entry if", "secondary_entry if: a condition is missing behind if"),
        ("break secondary_entry cpu one", "one: cpu is a number"),
        ("regs cpu one", "one: cpu is a number"),
        ("break secondary_entry if x0 =", "x0 =: not an expression; such as x0 == 3 and [symbol + 8] != 0"),
        ("watch", "DATA is missing"),
        ("watch cpu_boot_data[1].tusk", "cpu_boot_data[1].tusk: cpu_boot_data has task, status"),
        ("watch cpu_boot_data sometimes", "sometimes: write, read, access or change"),
        ("watch cpu_boot_data size 0", "size 0: 1..4096 bytes"),
        ("delete 7", "7: no breakpoint and no watchpoint has that number"),
        ("events bang", "bang: not one of exception, call, mmu, el, wfe, land, power-on, log, all, none"),
        ("info", "nothing: breakpoints, cpus or events"),
        ("cpu 4", "cpu 4: there are 4, from 0 on"),
        ("others run", "run: schedule, stand, free"),
        ("x 0x10", "0x10: no memory there"),
        ("who-wrote 0x10", "0x10: no memory there"),
        ("goto", "nothing: a position is a number"),
        ("goto -1", "-1: a position is at least 0"),
        ("back", "CPU0 has done nothing that could be undone"),
        ("back-op", "CPU0 has done no operation"),
        ("finish now", "now: the command takes nothing more"),
        ("data fruit", "fruit: no shared word has that in its name"),
        ("help fly", "fly: no such command"),
        ("print [0]", "[0x0]: no memory there"),
        ("print 0x10000000000000001", "0x10000000000000001: a number has 64 bits at most"),
        ("x 0x10000000040202800", "0x10000000040202800: a number has 64 bits at most"),
        ("list nowhere", "nowhere: no symbol nowhere in v3"),
        ("stack", "CPU0 runs a host task: it has no stack pointer"),
    ],
)
def test_what_cannot_be_done_is_one_line(commands: Commands, line: str, message: str) -> None:
    with pytest.raises(InvalidCase) as error:
        commands.run(line)
    assert re.sub(r"\.py:\d+", ".py:N", str(error.value)) == message


def test_a_condition_without_a_place_is_for_the_instruction_that_the_cpu_is_at(commands: Commands) -> None:
    commands.run("until scan cpu 1")
    assert commands.run("break if x19 == 1")[0].startswith("breakpoint 2 at PA 0x40200064: scan ")
    commands.run("continue")
    assert commands.run("print $x19 & ~0xfe") == ["0x1 (1)"], "a register may have a $ as in gdb"


def test_where_there_is_no_code_disas_says_so(commands: Commands) -> None:
    commands.run("until scan cpu 1")
    commands.run("set pc = 0x1000")
    with pytest.raises(InvalidCase) as said:
        commands.run("disas")
    assert str(said.value) == "0x1000: no memory there"


def test_next_is_a_step_but_over_a_call_it_comes_back(commands: Commands) -> None:
    commands.run("until secondary_startup cpu 1")
    pe, names = commands.session.pe(1), []
    while commands.session.places.describe(pe.pc) != "secondary_start_kernel":
        place = commands.session.places
        word, here = place.word(place.pa(pe.pc)), place.pa(pe.pc)
        commands.run("next")
        names.append(place.describe(pe.pc).partition("+")[0])
        comes_back = a64.is_call(word or 0) and names[-1] != "secondary_start_kernel"
        assert not comes_back or place.pa(pe.pc) == here + 4, "with the MMU on behind __enable_mmu too"
    assert not {"set_cpu_boot_mode_flag", "__enable_mmu", "finalise_el2"} & {*names}


def test_finish_of_a_host_task_comes_to_the_function_that_has_called() -> None:
    commands = commands_on(bringup="serial")
    for name, next_one in (("update_cpu_boot_status", "__psci_cpu_on"), ("__psci_cpu_on", "__cpu_up")):
        commands.run(f"until {name}")
        callers = [row.split()[1:] for row in commands.run("backtrace")[2:]]
        assert f" {next_one} (" in commands.run("finish")[-1], "the next operation"
        rows = [row.split()[1:] for row in commands.run("backtrace")]
        assert name not in [row[0] for row in rows]
        outer = [caller for caller in callers if caller[0] in ("bringup_cpu", "_cpu_up", "smp_init")]
        assert len(outer) == 3
        assert all(caller in rows for caller in outer)


def test_finish_comes_to_the_caller_wherever_the_function_keeps_its_return_address(tmp_path: Path) -> None:
    """Behind a call of its own X30 is the address behind that call; the caller is in a register or a slot."""
    commands = commands_on(str(write_nested(tmp_path)))
    session, places = commands.session, commands.session.places
    gone = set()
    commands.run("until my_lookup cpu 1")
    while (here := places.describe(session.pe(1).pc)) != "my_done":
        name, at = here.partition("+")[0], session.position
        returns = backtrace(session, 1, 2)[1:]
        if name in ("my_find", "my_scan", "my_found", "my_hwid") and here not in gone:
            gone.add(here)
            again = commands_on(session.boot.case.subject)
            again.session.run_to(at)
            again.run("cpu 1")
            again.run("finish")
            assert [places.pa(again.session.pe(1).pc)] == [places.pa(va) for va in returns], here
        commands.run("step")
    assert {"my_find", "my_scan", "my_found+0x4", "my_hwid"} <= gone
    assert len([each for each in gone if each.startswith("my_find+")]) > 7


def test_at_el2_the_registers_of_el2_are_shown() -> None:
    commands = commands_on(el="2")
    commands.run("until init_el2 cpu 1")
    shown = " ".join(commands.run("regs")).replace("*", " ")
    assert " SCTLR_EL2 " in shown
    assert "SCTLR_EL1" not in shown
    commands.run("until __secondary_switched cpu 1")
    shown = " ".join(commands.run("regs")).replace("*", " ")
    assert " SCTLR_EL1 " in shown
    assert " VBAR_EL2 " in shown


def test_a_store_that_is_to_come_has_the_value_that_is_stored(commands: Commands) -> None:
    """The status that is stored to cpu_boot_data is -1."""
    commands.run("until update_cpu_boot_status")
    assert commands.run("where")[-1].endswith(" = 0xffffffffffffffff")


def test_list_shows_the_source_of_a_place(commands: Commands) -> None:
    assert any(row.startswith(">   24 ") for row in commands.run("list scan"))
    assert commands.run("list v3.S:24") == commands.run("list scan")


def test_every_command_is_in_the_documentation(commands: Commands) -> None:
    text = (Path(__file__).parents[2] / "docs" / "stepping.md").read_text()
    missing = [name for name in commands.names if f"`{name}`" not in text and f"`{name} " not in text]
    assert not missing


@pytest.mark.parametrize("command", ["print pc", "print x0 + 1", "print el", "x pc", "backtrace"])
def test_a_cpu_that_has_run_no_code_has_no_registers(commands: Commands, command: str) -> None:
    commands.run("cpu 2")
    with pytest.raises(InvalidCase, match="^CPU2 has run no code yet: it has no registers$"):
        commands.run(command)
    assert commands.run("print cpu") == ["0x2 (2)"]
    assert commands.run("regs") == ["CPU2 has run no code yet: it has no registers"]
    assert commands.run("until secondary_entry cpu 2")
    assert commands.run(command)


def test_nothing_that_is_shown_of_a_cpu_that_never_was_on_has_a_pc(commands: Commands) -> None:
    commands = commands_on(fault="2:never-starts")
    commands.run("continue")
    session = commands.session
    assert session.pe(2).pc == 0
    assert commands.view.place(2).name == ""
    snapshot = commands.view.snapshot(2, 2, 2)
    assert snapshot["cpus"][2]["place"] == {"name": "", "file": "", "line": 0, "text": ""}
    ends = [row for row in session.machine.trace_if_over().rows() if row[0] == Kind.OUTCOME and row[2] == 2]
    assert [pc for _kind, _size, _cpu, pc, _pa, _value in ends] == [0]

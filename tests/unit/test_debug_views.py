"""The debugger's commands that show registers, memory, translation and states, and those that change them.

This is one file because all of them are asked on the same few sessions.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_sessions import commands_on

from emu.case import Case
from emu.debug.commands import Commands, Quit, SourcedError
from emu.errors import InvalidCase


@pytest.fixture
def commands() -> Commands:
    return commands_on()


# -- system registers -----------------------------------------------------------------------------


def test_a_system_register_goes_by_its_name_in_print_and_conditions(commands: Commands) -> None:
    commands.run("until __secondary_switched cpu 2")
    assert commands.run("print MPIDR_EL1")[0].startswith("0x80000002 (2147483650)")
    assert commands.run("print mpidr_el1 & 0xff") == ["0x2 (2)"]
    assert commands.run("print SCTLR_EL1.M") == ["0x1 (1)"]
    assert commands.run("print TCR_EL1.TG1") == ["0x2 (2)"]
    commands.run("break set_cpu_boot_mode_flag if SCTLR_EL1.M == 1 and MPIDR_EL1.Aff0 == 3")
    commands.run("c")
    assert commands.cpu == 3


def test_system_registers_are_shown_with_their_fields(commands: Commands) -> None:
    commands.run("until __secondary_switched cpu 2")
    lines = commands.run("regs system TCR_EL1")
    assert lines[0].startswith("TCR_EL1 0x")
    assert "  31:30 TG1    0x2    4 KiB" in lines
    assert "  22    A1     1      the ASID is TTBR1's" in lines
    assert any(line.startswith("  clear: ") for line in lines)
    assert "  7:0   Aff0    0x3" in commands.run("regs system mpidr_el1 cpu 3")
    names = [line.split()[0] for line in commands.run("regs system T*_EL1") if line[0] != " "]
    assert names == ["TTBR0_EL1", "TTBR1_EL1", "TCR_EL1", "TPIDR_EL1"]
    assert len(commands.run("regs system")) > 120


def test_system_registers_that_there_are_not_are_refused_with_a_reason(commands: Commands) -> None:
    for line, words in (
        ("print SCTLR_EL1.X", "SCTLR_EL1.X: SCTLR_EL1 has M, A, C"),
        ("print FAR_EL1.X", "FAR_EL1.X: FAR_EL1 has no fields"),
        ("print SCTRL_EL1.M", "no system register that emu knows; did you mean SCTLR_EL1?"),
        ("regs system ZCR_EL1", "ZCR_EL1: CPU0, a cortex-a72, has no such register"),
        ("regs system Q*", "CPU0 has no system register of such a name"),
        ("regs SCTLR_EL1", "takes nothing more"),
    ):
        with pytest.raises(InvalidCase) as refused:
            commands.run(line)
        assert words in str(refused.value)


def test_to_show_the_counter_does_not_let_it_count(commands: Commands) -> None:
    commands.run("until __secondary_switched")
    first = commands.run("regs system CNT*")
    assert commands.run("regs system CNT*") == first
    assert commands.run("print CNTVCT_EL0") == commands.run("print CNTVCT_EL0")


def test_names_that_el2_has_for_registers_of_el1_are_those_registers() -> None:
    hosted = commands_on(cpu="max", el=2)
    hosted.run("until __secondary_switched")
    assert hosted.run("print TCR_EL12") == hosted.run("print TCR_EL1")
    assert hosted.run("print CNTKCTL_EL12") == hosted.run("print CNTKCTL_EL1")
    with pytest.raises(InvalidCase):
        hosted.run("print MPIDR_EL12")


# -- address translation --------------------------------------------------------------------------


def test_a_walk_has_each_descriptor_and_the_result(commands: Commands) -> None:
    commands.run("until __secondary_switched cpu 1")
    lines = commands.run("walk cpu_boot_data")
    assert ": EL1&0 by TTBR1_EL1 0x" in lines[0]
    assert lines[0].endswith(", 48 bits, 4 KiB")
    assert [line.split()[:2] for line in lines[1:4]] == [["level", "0"], ["level", "1"], ["level", "2"]]
    assert lines[4] == "      Attr0 Normal Write-Back RA WA, EL1 read-write, Inner Shareable, UXN"
    pa, _ = commands.session.places.data("cpu_boot_data")
    assert lines[5].startswith(f"PA {pa:#x} cpu_boot_data[0].task")
    assert commands.run("walk 0x0")[-1] == "translation fault, level 1"
    commands.run("cpu 2")
    assert commands.run("walk 0x40200000")[0].endswith("CPU2: EL1&0, stage 1 off")
    high = commands.run("walk __secondary_switched")  # a VA, which no PA is as wide as
    assert high[0].endswith("__secondary_switched, CPU2: EL1&0, stage 1 off")
    assert high[1:] == ["address size fault, level 0"]


def test_the_vas_of_a_pa_are_those_that_the_cpu_has(commands: Commands) -> None:
    commands.run("until __secondary_switched cpu 1")
    pa, _ = commands.session.places.data("cpu_boot_data")
    lines = commands.run(f"vas {pa:#x}")
    assert [line.split()[0] for line in lines[1:]] == [f"{pa:#018x}", "0xffff800080002080"]
    assert lines == commands.run("vas cpu_boot_data")
    assert commands.run("vas 0x1000") == ["PA 0x1000: CPU1 maps it nowhere"]


def test_a_cpu_that_is_off_translates_nothing(commands: Commands) -> None:
    with pytest.raises(InvalidCase) as refused:
        commands.run("walk 0x40200000 cpu 3")
    assert str(refused.value) == "CPU3 is off: it translates nothing"
    assert commands.run("walk 0x40200000 cpu 0")[1].endswith("a host task runs in its stead")


# -- stack, state, search -------------------------------------------------------------------------


def test_the_stack_names_what_its_words_are_addresses_of(commands: Commands) -> None:
    commands.run("until __secondary_switched cpu 1")
    with pytest.raises(InvalidCase) as refused:
        commands.run("stack")
    assert str(refused.value) == "CPU1: SP is 0x0, and no memory is there"
    pa, _ = commands.session.places.data("cpu_boot_data[1].task")
    commands.run(f"set sp = {pa - 8:#x}")
    commands.run(f"set x29 = {pa:#x}")
    lines = commands.run("stack 2")
    assert lines[0].startswith(f"sp+0x000 {pa - 8:#x}: ")
    assert lines[1].startswith(f"sp+0x008 {pa:#x}: 0xffff800080400080")
    assert lines[1].endswith("<- x29")
    commands.run("set u64[sp] = secondary_entry + 8")
    assert commands.run("stack 1")[0].endswith("  secondary_entry+0x8")


def test_the_state_of_a_cpu_has_power_events_monitor_and_interrupts(commands: Commands) -> None:
    assert commands.run("state cpu 3")[:2] == [
        "CPU             CPU3, off",
        "power           off; AFFINITY_INFO says OFF",
    ]
    commands.run("until __secondary_switched cpu 1")
    found = dict(line.split(None, 1) for line in commands.run("state") if not line.startswith("event"))
    assert found["CPU"] == "CPU1, runs guest code"
    assert found["power"] == "on; AFFINITY_INFO says ON"
    assert found["mode"] == "EL1, MMU on, masked: D A I F"
    assert found["monitor"] == "open"


def test_the_state_tells_of_a_set_event_register_an_armed_monitor_and_a_pending_interrupt(
    commands: Commands,
) -> None:
    commands.run("until __secondary_switched cpu 1")
    outside = commands.session.machine.interconnect
    pa, _ = commands.session.places.data("cpu_boot_data")
    outside.system = outside.system._replace(events=1 << 1, interrupts=1 << 1, monitors=((1, pa),))
    lines = commands.run("state")
    assert "event register  set" in lines
    assert (
        f"monitor         armed by a load-exclusive of {pa:#x} cpu_boot_data[0].task, granule"
        in "\n".join(lines)
    )
    assert "interrupts      one of another CPU is pending" in lines
    assert "event register  clear" in commands.run("state cpu 2")


def test_a_search_finds_values_at_their_alignment_and_texts(commands: Commands) -> None:
    commands.run("until __secondary_switched cpu 1")
    pa, _ = commands.session.places.data("cpu_boot_data")
    commands.run(f"set u64[{pa:#x}] = 0x1122334455667788")
    assert commands.run("search 0x1122334455667788") == [f"{pa:#x} cpu_boot_data[0].task"]
    assert commands.run("search u32 0x11223344") == [f"{pa + 4:#x} cpu_boot_data[0].task+4"]
    assert commands.run("search u32 0x22334455") == ["nowhere in memory"], "it is at no multiple of 4"
    assert commands.run('search "wfUD3"') == [f"{pa + 1:#x} cpu_boot_data[0].task+1"]
    assert commands.run("search 0")[-1] == "and more: 20 are shown"
    with pytest.raises(InvalidCase):
        commands.run("search u8 0x100")


# -- changing the machine -------------------------------------------------------------------------


def test_registers_memory_and_fields_are_set(commands: Commands) -> None:
    commands.run("until __secondary_switched cpu 1")
    commands.run("set x0 = 5")
    commands.run("set x1 = x0 << 4")
    commands.run("set nzcv = 0x40000000")
    assert commands.run("print x1") == ["0x50 (80)"]
    assert commands.run("print nzcv") == ["0x40000000 (1073741824)"]
    commands.run("set u8[cpu_boot_data + 1] = 0xab")
    assert commands.run("print u16[cpu_boot_data]")[0].startswith("0xab")
    commands.run("set cpu_boot_data[1].task = 0x77")
    assert commands.run("data cpu_boot_data[1].task")[0].startswith("cpu_boot_data[1].task 0x77")
    commands.run("set SCTLR_EL1.A = 1")
    assert commands.run("print SCTLR_EL1.A") == ["0x1 (1)"]
    assert commands.run("print SCTLR_EL1.M") == ["0x1 (1)"]
    commands.run("set VBAR_EL1 = 0x40000800 cpu 2")
    assert commands.run("regs system VBAR_EL1 cpu 2")[0].startswith("VBAR_EL1 0x0000000040000800")
    assert commands.run("set pc = secondary_entry")[0].split("  ")[1].startswith("secondary_entry ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("set x0", "x0: what is set, then = and a value"),
        ("set x0 == 3", "what is set, then = and a value"),
        ("set MPIDR_EL1 = 3", "MPIDR_EL1 is read-only"),
        ("set ZCR_EL1 = 3", "ZCR_EL1: CPU1 has no such register"),
        ("set SCTLR_EL1.M = 2", "0x2: SCTLR_EL1.M has 1 bits"),
        ("set SCTLR_EL1.Q = 0", "SCTLR_EL1.Q: SCTLR_EL1 has M"),
        ("set pc = 2", "an instruction is at a multiple of 4"),
        ("set nzcv = 1", "nzcv has bits 31:28"),
        ("set u8[cpu_boot_data] = 0x100", "0x100: u8[cpu_boot_data] has 1 bytes"),
        ("set u8[0] = 1", "0x0: no memory there"),
        ("set nosuch = 1", "no symbol nosuch in v3"),
        ("set x0 = 1 cpu 0", "CPU0 runs a host task, which has no registers"),
    ],
)
def test_what_cannot_be_set_is_refused_with_its_reason(commands: Commands, line: str, words: str) -> None:
    commands.run("until __secondary_switched cpu 1")
    with pytest.raises(InvalidCase) as refused:
        commands.run(line)
    assert words in str(refused.value)


def test_registers_of_a_cpu_that_is_off_cannot_be_set(commands: Commands) -> None:
    with pytest.raises(InvalidCase) as refused:
        commands.run("set x0 = 1 cpu 3")
    assert str(refused.value) == "CPU3 is off: it begins with what firmware gives it"


def test_the_new_value_of_the_pc_is_what_runs_next(commands: Commands) -> None:
    commands.run("until secondary_entry cpu 2")
    (line,) = commands.run("set pc = __secondary_switched")
    assert "MMU off  __secondary_switched " in line, "its PA, for the MMU is off"
    commands.run("others stand")
    assert "__secondary_switched+0x4 " in commands.run("step")[0]


# -- scripts --------------------------------------------------------------------------------------


def test_a_sourced_file_is_run_line_by_line_and_its_errors_have_its_lines(
    commands: Commands, tmp_path: Path
) -> None:
    inner, outer = tmp_path / "inner.emu", tmp_path / "outer.emu"
    inner.write_text("# a comment\n\ncpu 1\n")
    outer.write_text(f"source {inner}\nwhere\nnonsense\nwhere\n")
    with pytest.raises(SourcedError) as refused:
        commands.run(f"source {outer}")
    assert str(refused.value) == f"{outer}:3: nonsense: no such command; try help"
    said = [line for line in refused.value.said if line.startswith("(emu)")]
    assert said == [f"(emu) source {inner}", "(emu) cpu 1", "(emu) where", "(emu) nonsense"]
    assert commands.cpu == 1
    assert len(commands.run("where")) == 1, "nothing of the file is left"


def test_a_file_that_sources_itself_ends(commands: Commands, tmp_path: Path) -> None:
    own = tmp_path / "own.emu"
    own.write_text(f"source {own}\n")
    with pytest.raises(InvalidCase) as refused:
        commands.run(f"source {own}")
    assert "more than 10000 lines" in str(refused.value)
    with pytest.raises(InvalidCase) as refused:
        commands.run(f"source {tmp_path / 'none.emu'}")
    assert "No such file" in str(refused.value)


def test_the_case_is_printed_as_it_can_be_given_again(commands: Commands) -> None:
    (line,) = commands.run("case")
    assert Case.parse(line).text() == line


# -- x --------------------------------------------------------------------------------------------


def test_x_takes_addresses_as_expressions_with_width_and_count(commands: Commands) -> None:
    commands.run("until scan cpu 1")
    pa, _ = commands.session.places.data("__cpu_logical_map")
    rows = [f"{pa + 8 * cpu:#x} __cpu_logical_map[{cpu}]: {cpu:#018x}  CPU{cpu}" for cpu in range(4)]
    assert commands.run("x __cpu_logical_map 4") == rows
    assert commands.run("x x1 4") == commands.run("x [x1] 4") == commands.run("x x1 + 8*x19 4") == rows
    assert commands.run("x [x1 + 8*x19 + 8]") == commands.run(f"x {pa + 8:#x}") == rows[1:2]
    halves = [f"{pa + 8:#x} __cpu_logical_map[1]: 0x00000001  CPU1"]
    halves.append(f"{pa + 12:#x} __cpu_logical_map[1]+4: 0x00000000")
    assert commands.run("x u32 x1+8 2") == commands.run("x u32[x1 + 8] 2") == halves
    assert commands.run("x dec u8 __cpu_logical_map[3] 1") == [f"{pa + 24:#x} __cpu_logical_map[3]: 3  CPU3"]
    assert commands.run("x x1 + 8")[0] == rows[1], "the 8 belongs to the expression"


def test_x_shows_texts_and_the_symbols_of_addresses(commands: Commands) -> None:
    commands.run("until __secondary_switched cpu 1")
    commands.run("set [cpu_boot_data] = secondary_entry + 4")
    commands.run("set [cpu_boot_data + 8] = 0x676e6f6c20227868")
    pa, _ = commands.session.places.data("cpu_boot_data")
    assert commands.run("x [cpu_boot_data + 0]")[0].endswith(": 0xffff80008000003c  no idle task")
    commands.run("set [0xffff800080400088] = secondary_entry + 4")
    assert commands.run("x [0xffff800080400088]")[0].endswith("  secondary_entry+0x4")
    assert commands.run(f"x text {pa + 8:#x} 6") == [f'{pa + 8:#x} cpu_boot_data[0].status: "hx" lo"...']
    commands.run(f"set u8[{pa + 11:#x}] = 10")
    commands.run(f"set u8[{pa + 13:#x}] = 0")
    assert commands.run(f"x text {pa + 8:#x}") == [f'{pa + 8:#x} cpu_boot_data[0].status: "hx"\\x0al"']


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x", "DATA is missing"),
        ("x nosuch", "no symbol nosuch in v3"),
        ("x nosuch + 1", "nosuch: neither a register nor a symbol"),
        ("x [0]", "0x0: no memory there"),
        ("x sp", "0x0: no memory there"),
        ("x x1 0", "0: N is at least 1"),
        ("x x1 +", "not an expression"),
    ],
)
def test_what_x_cannot_show_is_refused_with_its_reason(commands: Commands, line: str, words: str) -> None:
    commands.run("until scan cpu 1")
    with pytest.raises(InvalidCase) as refused:
        commands.run(line)
    assert words in str(refused.value)


def test_an_expression_is_seen_as_the_cpu_sees_it() -> None:
    """CPU2's hwid is in a dirty line alone: with its MMU off it finds what is in memory."""
    stale = commands_on(topology="flat:3", memory="caches", fault="2:no-clean")
    stale.run("until scan cpu 2")
    assert stale.run("x [x1 + 16]")[0].split(": ")[1].startswith("0xffffffffffffffff")
    rows = stale.run("x [x1 + 16] --all")
    assert any(row.startswith("  its line: dirty") for row in rows)
    assert len(stale.run("search 0x2")) > 0


def test_who_can_see_a_word_is_told_by_cpus_with_addresses_and_attributes(commands: Commands) -> None:
    commands.run("until __secondary_switched cpu 1")
    pa, _ = commands.session.places.data("cpu_boot_data")
    assert commands.run("vas cpu_boot_data all") == [
        f"PA {pa:#x} cpu_boot_data[0].task",
        "  CPU0: a host task, by its PA",
        "  CPU1: EL1, MMU on",
        f"    {pa:#018x}: Normal Write-Back RA WA",
        "    0xffff800080002080 cpu_boot_data: Normal Write-Back RA WA",
        "  CPU2..CPU3: EL1, MMU off",
        f"    {pa:#018x}: Device-nGnRnE",
    ]


def test_cache_lines_are_listed_dirty_ones_first_with_what_memory_has(commands: Commands) -> None:
    with pytest.raises(InvalidCase) as refused:
        commands.run("lines")
    assert "memory is coherent" in str(refused.value)
    stale = commands_on(topology="flat:3", memory="caches", fault="2:no-clean")
    stale.run("until scan cpu 2")
    rows = stale.run("lines")
    states = [row.split(": ")[1].split(",")[0] for row in rows if row[0] != " "]
    assert states[0] == "dirty"
    assert states == sorted(states, key=lambda state: state != "dirty")
    pa, _ = stale.session.places.data("__cpu_logical_map[2]")
    assert f"  {pa:#x} __cpu_logical_map[2]: 0x2, memory has 0xffffffffffffffff" in rows
    assert stale.run("lines __cpu_logical_map")[0].endswith(": dirty")
    assert stale.run("lines nosuch") == ["none"]


# -- what is documented ---------------------------------------------------------------------------


def test_the_table_of_the_documentation_names_no_command_that_there_is_not(commands: Commands) -> None:
    text = (Path(__file__).parents[2] / "docs" / "stepping.md").read_text()
    table = text.split("## Commands")[1].split("\n## ")[0]
    cells = [row.split(" | ")[0] for row in table.splitlines() if row.startswith("| `")]
    documented = {word.split()[0] for cell in cells for word in re.findall(r"`([^`]+)`", cell)}
    helped = {name for line in commands.run("help") for name in line.split()[0].split("|")}
    assert documented - {"info"} <= helped


def test_an_exception_is_logged_with_its_syndrome_in_words(commands: Commands) -> None:
    commands.run("until secondary_entry cpu 1")
    commands.run("events exception")
    commands.run("set u32[pc] = 0xd4200100")
    commands.run("c")
    (line,) = (line for line in commands.run("log 3") if "exception" in line)
    assert "ESR 0xf2000008, FAR 0x" in line
    assert " (BRK: #0x8)" in line


def test_what_is_displayed_is_shown_at_each_stop(commands: Commands) -> None:
    assert commands.run("display") == ["nothing: name what x shows"]
    commands.run("until scan cpu 1")
    shown = commands.run("x [x1 + 8*x19]")
    assert commands.run("display [x1 + 8*x19]") == ["1: x [x1 + 8*x19]", f"  {shown[0]}"]
    commands.run("display u32 __boot_cpu_mode 1")
    lines = commands.run("step")
    assert [line for line in lines if line.startswith(("1: ", "2: "))] == lines[1::2]
    commands.run("undisplay 2")
    commands.run("set x1 = 0")
    assert commands.run("step")[1:] == ["1: x [x1 + 8*x19]", "  0x0: no memory there"]
    commands.run("undisplay")
    assert len(commands.run("step")) == 1
    for line, words in (
        ("display nosuch", "no symbol nosuch"),
        ("undisplay 1", "no display has that number"),
    ):
        with pytest.raises(InvalidCase) as refused:
            commands.run(line)
        assert words in str(refused.value)


def test_a_sourced_file_ends_with_quit_and_with_an_interrupt(commands: Commands, tmp_path: Path) -> None:
    script = tmp_path / "script.emu"
    script.write_text("cpu 1\nquit\ncpu 2\n")
    with pytest.raises(Quit) as end:
        commands.run(f"source {script}")
    assert [line for line in end.value.said if line.startswith("(emu)")] == ["(emu) cpu 1", "(emu) quit"]
    assert commands.cpu == 1
    commands = commands_on(topology="flat:32")
    script.write_text("continue\ncpu 3\n")
    commands.session.interrupted = lambda: True
    lines = commands.run(f"source {script}")
    assert lines[:2] == ["(emu) continue", "interrupted"]
    assert commands.cpu != 3
    script.write_text("where\ncpu 3\n")
    commands.run(f"source {script}")
    assert commands.cpu == 3, "an interrupt of before is over"

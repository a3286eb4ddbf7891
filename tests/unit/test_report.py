"""Reports: what a run came to, as data and as text."""

from __future__ import annotations

from booting import run

from emu.operation import Kind
from emu.report.disassembly import disassemble
from emu.report.outcome import as_json, cpu_outcomes
from emu.report.text import event_words


def test_a_sleeper_is_shown_at_its_wfe() -> None:
    done = run("v3 topology=flat:3 fault=2:no-52bit-va")
    assert [cpu.at for cpu in cpu_outcomes(done.boot)] == ["", "", "va52_stuck: wfe"]


def test_a_cpu_that_ended_in_a_host_task_has_no_place_in_guest_code() -> None:
    done = run("v3 topology=flat:3 fault=2:panic")
    found = as_json(done.boot, done.verdict)["cpus"][2]
    assert (found["outcome"], found["at"]) == ("parked in cpu_panic_kernel", None)


def test_words_that_are_no_instruction_are_shown_as_words() -> None:
    assert disassemble(0xD503205F, 0) == "wfe"
    assert disassemble(0x0000_0000, 0) in ("udf #0", ".inst 0x00000000")
    assert disassemble(0xFFFF_FFFF, 0) == ".inst 0xffffffff"


def test_no_report_names_a_pc_of_a_cpu_that_has_run_no_code() -> None:
    """One that firmware does not start, and firmware's that wait: a PC is where the CPU itself was."""
    denied = run("v3 topology=flat:4 fault=2:denied:2")
    assert "CPU2 did not come up (off, no PC), and nobody reported it" in denied.messages
    found = as_json(denied.boot, denied.verdict)["findings"]
    assert [each["data"]["pc"] for each in found if each["what"] == "unreported"] == [{"pc": None}]
    parked = run("mainline topology=flat:4 enable-method=parking-protocol")
    trace = parked.boot.machine.trace
    wakes = [event_words(trace, record, hex) for record in trace if record.kind is Kind.WAKE]
    assert "CPU2 wakes" in wakes

"""Traces of instructions: each row is what single-stepping shows; the file reads whatever became of it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.case import Case
from emu.errors import InvalidSubject
from emu.host.build import Boot, build
from emu.host.tracing import record_instructions, symbol_table, used_symbols
from emu.instructions import InstructionRow, unpack, values
from emu.operation import Kind
from emu.subject.symbols import Symbols
from emu.trace import Trace, read_trace

CASES = [
    Case("v3", topology="flat:4"),
    Case("mainline", topology="flat:3", el=2),
    Case("rfc", topology="flat:4", grain="instruction"),
    Case("v2", topology="flat:3", grain="operation", scheduler="random:5"),
    Case("mainline", topology="flat:3", enable_method="spin-table"),
    Case("v3", topology="flat:3", fault="1:no-granule"),
    Case("v3", topology="flat:2", kexec="mainline@0"),
]


def recorded(case: Case) -> Boot:
    boot = build(case, record=True)
    record_instructions(boot)
    boot.machine.run()
    boot.machine.finish()
    return boot


def steps_of(trace: Trace) -> dict[int, list[InstructionRow]]:
    """Every instruction of each CPU, then the state in which it stopped last."""
    found: dict[int, list[InstructionRow]] = {}
    for record, steps in trace.steps_of():
        assert len(steps) == (record.value if record.kind is Kind.INSTRUCTIONS else 0)
        if record.kind is Kind.INSTRUCTIONS and not record.size:
            found.setdefault(record.actor, []).extend(steps)
    return found


def stepped(case: Case) -> dict[int, list[InstructionRow]]:
    """The same by stepping: the registers of each PE before every instruction, through Unicorn's own API."""
    boot = build(replace(case, grain="instruction"), record=True)
    machine, found = boot.machine, {}
    run_step = machine.engine.step

    def step(pe: object) -> object:
        assert pe is machine.actors[pe.index].pe  # type: ignore[attr-defined]
        nzcv = pe.nzcv >> 28  # type: ignore[arg-type]
        pstate = pe.pstate  # type: ignore[attr-defined]
        row = (pe.pc, tuple(pe.x), nzcv, pe.el, pstate & 1)  # type: ignore[attr-defined]
        stop = run_step(pe)  # type: ignore[arg-type]
        if type(stop).__name__ != "Reached":
            found.setdefault(pe.index, []).append(row)  # type: ignore[attr-defined]
        return stop

    machine.engine.step = step  # type: ignore[method-assign,assignment]
    machine.run()
    machine.finish()
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("case", CASES[:6], ids=Case.text)
def test_rows_are_what_single_stepping_shows(case: Case) -> None:
    """No other state than that before each instruction, whatever the grain."""
    got = {
        cpu: [(s.pc, s.x, s.nzcv, s.el, s.sp_sel) for s in steps]
        for cpu, steps in steps_of(recorded(case).machine.trace).items()
    }
    assert got == stepped(case)


@pytest.mark.parametrize("case", CASES, ids=Case.text)
def test_recording_changes_nothing_and_counts_all(case: Case) -> None:
    """The other records are those of a run without, and rows are as many as retired instructions."""
    plain = build(case, record=True)
    plain.machine.run()
    plain.machine.finish()
    boot = recorded(case)
    mine = [r for r in boot.machine.trace if r.kind is not Kind.INSTRUCTIONS]
    assert mine == list(plain.machine.trace)
    if "kexec" in case.text():
        return  # its second boot counts from 0
    found = steps_of(boot.machine.trace)
    for cpu, actor in enumerate(boot.machine.actors):
        unretired = sum(
            1 for r in mine if r.actor == cpu and r.kind in (Kind.EXCEPTION, Kind.PARK) and r.pc >> 62 != 3
        )
        count = len(found.get(cpu, []))
        assert actor.pe.counters.instructions <= count <= actor.pe.counters.instructions + unretired


def test_words_are_the_code() -> None:
    boot = recorded(CASES[0])
    trace = boot.machine.trace
    for steps in steps_of(trace).values():
        for step in steps:
            pa = boot.guest.pa_of(step.pc) if step.pc >> 63 else step.pc
            assert trace.word(step.pc) == boot.machine.memory.read(pa, 4)


_ROWS_MAX = 512  # of a chunk here: few instructions make several
_FILED = Case("v3", topology="flat:16", grain="instruction")


@pytest.fixture(scope="module")
def file() -> tuple[bytes, list[int]]:
    """A file in several chunks, and the number of bytes at which each flush was over."""
    boot = build(_FILED, record=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emu.cpu.unicorn.steps.ROWS_MAX", _ROWS_MAX)
        return _filed(boot)


def _filed(boot: Boot) -> tuple[bytes, list[int]]:
    record_instructions(boot)
    sink, ends = io.BytesIO(), []
    trace = boot.machine.trace
    trace.attach(sink)
    written = trace.flush

    def flush() -> None:
        written()
        ends.append(len(sink.getvalue()))

    assert trace.steps is not None
    trace.steps.flush = flush
    boot.machine.run()
    boot.machine.finish()
    trace.add_symbols(used_symbols(boot))
    return sink.getvalue(), ends


def test_a_file_gives_the_same_back(file: tuple[bytes, list[int]], tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(file[0])
    again = read_trace(path)
    boot = recorded(_FILED)
    assert steps_of(again) == steps_of(boot.machine.trace)
    assert again.case == boot.case.text()
    assert again.values() == boot.machine.trace.values()
    assert len(file[1]) >= 5, f"more than 4 * {_ROWS_MAX} rows"


@pytest.mark.parametrize("grain", ["free", "operation", "instruction"])
def test_a_file_holds_at_most_20_bytes_an_instruction(grain: str) -> None:
    """Operations of all CPUs and of the host are among them; the finest grain takes turns at each one."""
    boot = build(Case("v3", topology="flat:64", grain=grain), record=True)
    record_instructions(boot)
    sink = io.BytesIO()
    boot.machine.trace.attach(sink)
    boot.machine.run()
    boot.machine.finish()
    boot.machine.trace.add_symbols(used_symbols(boot))
    count = sum(actor.pe.counters.instructions for actor in boot.machine.actors)
    assert len(sink.getvalue()) <= 20 * count


def test_what_was_cut_off_reads_up_to_its_last_chunk(file: tuple[bytes, list[int]], tmp_path: Path) -> None:
    data, ends = file
    path = tmp_path / "t"
    whole = Trace("")
    for end in (*ends, *(end - 1 for end in ends), *range(100, len(data), len(data) // 10)):
        path.write_bytes(data[:end])
        whole = read_trace(path)
        for steps in steps_of(whole).values():
            assert all(whole.word(step.pc) is not None for step in steps)
    assert len(whole) > 0


def test_symbols_in_a_file_name_what_the_subject_would(file: tuple[bytes, list[int]], tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(file[0])
    table = read_trace(path).symbols
    assert table is not None
    guest = build(_FILED).guest
    full, few = symbol_table(guest), Symbols(table.text)
    assert (table.va_offset, table.start, table.end) == (full.va_offset, full.start, full.end)
    for step in steps_of(read_trace(path))[3]:
        va = step.pc if step.pc >> 63 else step.pc + table.va_offset
        assert few.describe(va) == guest.subject.symbols.describe(va)


def _bodies() -> Iterator[bytes]:
    trace = recorded(Case("mainline", topology="flat:3")).machine.trace
    yield from (body for tag, body in trace._bodies if tag == 3)


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), keep=st.integers(0, 10_000))
def test_a_damaged_chunk_is_refused_or_read(at: int, byte: int, keep: int) -> None:
    """ValueError, or rows: nothing else."""
    body = bytearray(next(iter(_BODY)))
    if at < len(body):
        body[at] = byte
    try:
        found = unpack(bytes(body[:keep]) if keep < len(body) else bytes(body))
    except ValueError:
        return
    for steps in found.values():
        for step in steps:
            assert 0 <= step.pc < 2**64


_BODY = tuple(_bodies())


def test_values_are_those_of_the_rows() -> None:
    body = _BODY[0]
    wanted = {v for steps in unpack(body).values() for s in steps for v in (*s.x, s.pc)}
    assert values(body) == wanted


def test_records_that_promise_more_than_there_is_are_refused() -> None:
    trace = Trace("v3")
    trace.add(Kind.INSTRUCTIONS, 1, 0, 0, 0, 5)
    with pytest.raises(InvalidSubject, match="fewer instructions"):
        list(trace.steps_of())

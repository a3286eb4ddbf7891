"""What every fault keeps to: it breaks what it names, and the run still ends."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pytest
from booting import Run, run

from emu.designs import DESIGNS
from emu.errors import InvalidCase
from emu.host.enable_method import METHOD_KINDS
from emu.host.faults import FAULTS, Fault, parse_faults
from emu.operation import Kind

every_fault = pytest.mark.parametrize("name", FAULTS)
WHERE = (
    ("v3", ""),
    ("context-id", ""),
    ("v3", "enable-method=spin-table"),
    ("v3", "memory=caches"),
    ("v3", "cycle=1"),
    ("v3", "el=2 cpu=neoverse-n1"),
)
# Every design, and every enable-method with a table that is scanned and without one.
PAIRS = [(design, method) for design in DESIGNS for method in METHOD_KINDS]
PAIRS = [pair for pair in PAIRS if pair[1] == "psci" or pair[0] in ("v3", "mainline")]
# What says that there is a fault, and no more.
TOLD = (Kind.EXPECT, Kind.WANTED)
WITH_STRING = (Kind.LOG, Kind.REPORT, Kind.OUTCOME, Kind.MISUSE, Kind.UNSUPPORTED, Kind.DEFERRED)


def spec(name: str, cpu: int = 2) -> str:
    """The fault on a CPU, with the smallest argument that it takes."""
    return f"{cpu}:{name}:1" if FAULTS[name].argument else f"{cpu}:{name}"


def boot(name: str, design: str = "v3", rest: str = "") -> Run:
    return run(f"{design} topology=flat:4 fault={spec(name)} instructions-max=5000000 {rest}", record=True)


def happened(done: Run) -> list[object]:
    """Everything that a run did: neither the text of its case, nor that a CPU is noted as faulty."""
    trace = done.boot.machine.trace
    rows = [
        (
            kind,
            size,
            cpu,
            trace.location(pc) or pc,
            pa,
            trace.strings[value] if kind in WITH_STRING else value,
        )
        for kind, size, cpu, pc, pa, value in trace.rows()
        if kind not in TOLD
    ]
    return [*rows, *done.outcomes, *done.lines]


@cache
def sound(design: str, rest: str) -> list[object]:
    """What happens without a fault."""
    return happened(run(f"{design} topology=flat:4 instructions-max=5000000 {rest}", record=True))


@every_fault
def test_it_is_a_fault_with_a_summary(name: str) -> None:
    kind = FAULTS[name]
    assert issubclass(kind.fault, Fault)
    assert kind.summary


@every_fault
def test_its_argument_is_asked_for_and_nothing_else_taken(name: str) -> None:
    (fault,) = parse_faults(spec(name), 4)[2]
    assert fault == FAULTS[name].fault(1 if FAULTS[name].argument else 0)
    wrong = f"2:{name}" if FAULTS[name].argument else f"2:{name}:1"
    with pytest.raises(InvalidCase, match=rf"fault={wrong}: {name} takes "):
        parse_faults(wrong, 4)


@every_fault
@pytest.mark.parametrize(("design", "method"), PAIRS)
def test_every_design_comes_to_an_end_with_it(name: str, design: str, method: str) -> None:
    """A design or a method that cannot have the fault refuses it; elsewhere it changes what happens."""
    rest = f"enable-method={method} memory=caches" + (" cycle=1" if method == "psci" else "")
    try:
        done = boot(name, design, rest)
    except InvalidCase:
        return
    assert done.boot.machine.stopped == ""
    assert happened(done) != sound(design, rest)


@every_fault
@pytest.mark.parametrize("method", METHOD_KINDS)
def test_it_changes_what_happens_at_el2_or_is_refused(name: str, method: str) -> None:
    for design in ("v3", "context-id"):
        rest = f"enable-method={method} el=2"
        try:
            done = boot(name, design, rest)
        except InvalidCase:
            continue
        assert happened(done) != sound(design, rest), design


@pytest.mark.parametrize("name", ["denied", "late"])
def test_that_a_fault_is_told_of_is_not_what_happens(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: one that does nothing is seen to be one."""
    monkeypatch.setattr(FAULTS[name].fault, "cpu_on", lambda self, request: None)
    assert happened(boot(name)) == sound("v3", "")


@dataclass(frozen=True)
class Kept:
    """What several tests ask of one run."""

    trace_bytes: bytes
    outcomes: list[str]
    messages: list[str]
    lines: list[str]


@cache
def kept(name: str) -> Kept:
    """Of a boot with it where it matters."""
    done = boot_where_it_matters(name)
    return Kept(done.trace_bytes, done.outcomes, done.messages, done.lines)


def boot_where_it_matters(name: str) -> Run:
    """Boot with it where it makes a difference: elsewhere it is refused."""
    for design, rest in WHERE[:-1]:
        try:
            return boot(name, design, rest)
        except InvalidCase:
            continue
    return boot(name, *WHERE[-1])


@every_fault
def test_it_gives_the_same_twice(name: str) -> None:
    assert boot_where_it_matters(name).trace_bytes == kept(name).trace_bytes


@every_fault
def test_other_cpus_come_up_unless_the_kernel_says_why_not(name: str) -> None:
    done = kept(name)
    panicked = any("Kernel panic" in line for line in done.lines)
    told = panicked or bool(done.messages)
    assert told or [done.outcomes[cpu] for cpu in (0, 1, 3)] == ["online"] * 3

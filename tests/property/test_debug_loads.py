"""What a debugger shows at an address is what that CPU's next load gives, and looking changes nothing."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
from exploring import X, machine_of
from naive import LINE_PAS, PA_OF
from naive_compare import programs_of
from naive_drawn import draw

from emu.case import Case
from emu.cpu.faulting_address import access_address
from emu.debug.loads import Loads
from emu.debug.session import Session
from emu.debug.target import DebugTarget
from emu.errors import InvalidCase
from emu.host.build import build
from emu.machine import Machine
from emu.models.caches.machine import Domain
from emu.operation import LOADS

_STEPS_MAX = 400
_SEEDS = range(60)


def _debugged(machine: Machine) -> DebugTarget:
    # Programs without a kernel: every VA is its PA.
    code: Any = SimpleNamespace(
        pa_of=lambda va: va, idle=(), subject=SimpleNamespace(va_offset=0, symbols=None, segments=())
    )
    boot: Any = SimpleNamespace(case=None, machine=machine, guest=code)
    return DebugTarget(boot)


def _drawn(seed: int) -> tuple[Machine, random.Random]:
    threads = draw(seed, caches=True, tasks=True)
    return machine_of(programs_of(threads), conduit="smc", granule=64), random.Random(seed)


def _caches_do_something(machine: Machine, choice: random.Random) -> None:
    # What the caches may do by themselves, to a line that is drawn.
    for letter in choice.sample("wdfm", 4):
        try:
            machine.model.choose(X + choice.choice(LINE_PAS), letter)  # type: ignore[union-attr]
            return
        except ValueError:
            pass


def wrong(seed: int) -> list[str]:
    """Run the programs of a seed in a drawn order; return what was shown and was not loaded next."""
    machine, choice = _drawn(seed)
    machine.observe()
    target = _debugged(machine)
    words = sorted({X + pa for pa in PA_OF})
    found = []
    for _ in range(_STEPS_MAX):
        runnable = [cpu for cpu in target.cpus if machine.is_runnable(cpu)]
        if not runnable:
            break
        if choice.random() < 0.3:
            _caches_do_something(machine, choice)
        cpu = choice.choice(runnable)
        machine.delays_maintenance = choice.random() < 0.5
        model: Any = machine.model
        before, rows = model.state(), len(machine.trace)
        shown = {pa: int.from_bytes(target.loads.load(cpu, pa, 8), "little") for pa in words}
        whole = target.loads.load(cpu, X, 0x400)
        assert all(whole[pa - X : pa - X + 8] == value.to_bytes(8, "little") for pa, value in shown.items())
        assert (model.state(), len(machine.trace)) == (before, rows), "looking has changed something"
        if not machine.step(cpu):
            break
        for index in range(rows, len(machine.trace)):
            kind, _size, actor, _pc, pa, value = machine.trace.row(index)
            if kind in LOADS and actor == cpu and pa in shown and kind != LOADS[2] and shown[pa] != value:
                found.append(f"seed {seed}: CPU{cpu} loads {value:#x} from {pa:#x}, shown was {shown[pa]:#x}")
    return found


@pytest.mark.parametrize("first", range(0, len(_SEEDS), 20))
def test_what_is_shown_is_what_the_cpu_loads_next(first: int) -> None:
    assert [line for seed in _SEEDS[first : first + 20] for line in wrong(seed)] == []


@pytest.mark.parametrize(
    ("owner", "name", "planted"),
    [
        (
            Loads,
            "_looks_into_caches",
            lambda *_: True,
        ),  # as it was: memory alone, as CPUs with caches on see it
        (Loads, "_looks_into_caches", lambda *_: False),
        (Domain, "seen", lambda self, _cpu, pa, size, _cacheable: self.memory.read_bytes(pa, size)),
    ],
    ids=["always", "never", "the-engine-s-memory"],
)
def test_a_view_that_is_wrong_is_caught(
    owner: type, name: str, planted: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, planted)
    assert any(wrong(seed) for seed in _SEEDS)


def test_a_look_that_fills_a_line_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Domain.seen

    def filling(self: Domain, cpu: int, pa: int, size: int, cacheable: bool) -> bytes:
        self.access(cpu, pa, size, True, False)
        return seen(self, cpu, pa, size, cacheable)

    monkeypatch.setattr(Domain, "seen", filling)
    with pytest.raises(AssertionError, match="looking has changed something"):
        list(map(wrong, _SEEDS))


_BOOTS = (
    "v3 topology=flat:3 memory=caches fault=2:no-clean",
    "v2 topology=flat:3 memory=caches fault=1:no-52bit-va el=2",
    "mainline topology=flat:3 memory=caches enable-method=spin-table",
    "v3 topology=flat:3",
)


@pytest.mark.parametrize("case", _BOOTS)
def test_in_a_boot_too_on_both_sides_of_the_mmu(case: str) -> None:
    """At the VA that the instruction uses, before every instruction that loads."""
    session = Session(build(Case.parse(case)))
    machine, compared, off = session.machine, 0, 0
    while True:
        before = {cpu: _next_load(session, cpu) for cpu in session.cpus if machine.is_runnable(cpu)}
        rows = len(machine.trace)
        if session.run_to(session.position + 1).reason == "end":
            break
        cpu = machine.current
        shown = before.get(cpu)
        if shown is None:
            continue
        for index in range(rows, len(machine.trace)):
            kind, size, actor, _pc, pa, value = machine.trace.row(index)
            if kind in LOADS[:2] and actor == cpu and pa == shown[0]:
                assert value.to_bytes(size, "little") == shown[1][:size], (case, session.position, hex(pa))
                compared, off = compared + 1, off + (not session.pe(cpu).mmu_on)
                break
    assert compared > 20
    assert off


def _next_load(session: Session, cpu: int) -> tuple[int, bytes] | None:
    # PA and bytes of what the CPU is about to load, as the debugger shows it at that address.
    actor = session.machine.actors[cpu]
    if actor.task is not None:
        pa = getattr(actor.pending, "pa", None)
        return None if pa is None else (pa, session.loads.load_data(cpu, pa, 8))
    word = session.machine.engine.word(actor.pe.pc)
    operation, _ = session.machine.parts.of(actor)
    accesses = getattr(operation, "accesses", ())
    if word is None or not accesses or accesses[0].is_store:
        return None
    va = access_address(actor.pe, word, actor.pe.pc)
    return accesses[0].pa, session.loads.load(cpu, va, 8)


def test_where_no_memory_is_there_is_nothing() -> None:
    session = Session(build(Case.parse("v3 topology=flat:2 memory=caches")))
    memory = session.machine.memory
    end = memory.base + memory.size
    assert session.loads.load(0, 0x10, 8) == session.loads.load_data(0, 0x10, 8) == b""
    assert len(session.loads.load(0, end - 4, 8)) == len(session.loads.load_data(0, end - 4, 8)) == 4
    with pytest.raises(InvalidCase, match="no memory there"):
        session.evaluate("[0]", 0)

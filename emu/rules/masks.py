"""CPU hotplug: the masks, the logical numbers and the table that secondaries scan, after every action.

online is a subset of enabled, enabled of present, present of possible; a number belongs to one hwid for
good; the entry of a number in use holds its hwid, and that of one that is not does not. Judged from the MASKS
records; whether an entry was cleaned for readers with the MMU off, from the operations where they are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from emu.arch.mpidr import INVALID_HWID
from emu.finding import Finding, Value, Word, each_once
from emu.operation import Expect, Kind, Mask
from emu.trace import Row, Trace

NAME = "masks"
SEES = "hotplug"
WORDS = {
    "not-cleaned": "CPU{cpu}: its table entry was stored and not cleaned to the PoC: who reads it with the "
    "MMU off may not see it",
    "renumbered": "CPU{cpu} was {was} and has become {hwid}",
    "online-not-enabled": "CPU{cpu} is online, but not enabled",
    "enabled-not-present": "CPU{cpu} is enabled, but not present",
    "present-not-possible": "CPU{cpu} is present, but not possible",
    "enabled-not-sta": "CPU{cpu} is enabled, but its _STA does not say so",
    "enabled-not-mapped": "CPU{cpu} is enabled, but its number is not in use",
    "wrong-entry": "CPU{cpu}: its table entry holds {entry}, not its hwid {hwid}",
    "entry-of-another": "CPU{cpu} is unmapped, but its table entry holds {entry}, the hwid of CPU{owner}",
}
_LINE = 64  # bytes: what one clean by VA covers on our CPUs (CTR_EL0.DminLine)
_SUBSETS = (
    (Mask.ONLINE, Mask.ENABLED, "online-not-enabled"),
    (Mask.ENABLED, Mask.PRESENT, "enabled-not-present"),
    (Mask.PRESENT, Mask.POSSIBLE, "present-not-possible"),
    (Mask.ENABLED, Mask.STA_ENABLED, "enabled-not-sta"),
    (Mask.ENABLED, Mask.MAPPED, "enabled-not-mapped"),
)
_KINDS = frozenset({Kind.STORE, Kind.CACHE, Kind.CALL, Kind.EXPECT, Kind.MASKS})


@dataclass(slots=True)
class _State:
    boot: int
    hwids: dict[int, int] = field(default_factory=dict)  # by EXPECT, when the machine was built
    faulty: set[int] = field(default_factory=set)
    entries: dict[int, int] = field(default_factory=dict)  # PA to CPU, where every store must be cleaned
    # CPU whose entry is not clean, to the CPU that stored it and the record.
    dirty: dict[int, tuple[int, int]] = field(default_factory=dict)
    found: list[Finding] = field(default_factory=list)

    def add(self, what: str, cpu: int, record: int, **data: Value) -> None:
        self.found.append(Finding.of(NAME, what, (cpu,), {"cpu": cpu, **data}, (record,), self.boot))


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each CPU and rule that does not hold, in each boot."""
    return each_once(
        finding
        for boot, rows in enumerate(trace.numbered_boots(_KINDS))
        for finding in _judge(boot, rows).found
    )


def _judge(boot: int, rows: Iterator[tuple[int, Row]]) -> _State:
    state = _State(boot)
    for number, (kind, size, actor, pc, pa, value) in rows:
        if kind == Kind.STORE:
            if pa in state.entries:
                state.dirty[state.entries[pa]] = (actor, number)
        elif kind == Kind.CACHE:
            for entry, cpu in state.entries.items():
                if entry // _LINE == pa // _LINE:
                    state.dirty.pop(cpu, None)
        elif kind == Kind.CALL:
            _check_clean(state, actor)
        elif kind == Kind.EXPECT and size == Expect.HWID:
            state.hwids[actor] = value
        elif kind == Kind.EXPECT and size == Expect.FAULTY and value:
            state.faulty.add(actor)
        elif kind == Kind.MASKS:
            _check_clean(state)
            if size & Mask.CLEAN:
                state.entries[pc] = actor
            _check_masks(state, number, actor, Mask(size), pa)
            if pc:
                _check_entry(state, number, actor, Mask(size), pa, value)
    return state


def _check_clean(state: _State, writer: int | None = None) -> None:
    # At the end of an action; or when the writer goes on to call firmware.
    for cpu, (who, stored) in sorted(state.dirty.items()):
        if writer is None or who == writer:
            del state.dirty[cpu]
            state.add("not-cleaned", cpu, stored)


def _check_masks(state: _State, number: int, cpu: int, masks: Mask, hwid: int) -> None:
    if hwid != state.hwids[cpu]:
        state.add("renumbered", cpu, number, was=Word(state.hwids[cpu]), hwid=Word(hwid))
    if cpu in state.faulty:
        return  # v6.12 takes a CPU that dies early out of the present mask while it is registered
    for inner, outer, what in _SUBSETS:
        if inner in masks and outer not in masks:
            state.add(what, cpu, number)


def _check_entry(state: _State, number: int, cpu: int, masks: Mask, hwid: int, entry: int) -> None:
    if Mask.MAPPED in masks:
        if entry != hwid and cpu and cpu not in state.faulty:
            state.add("wrong-entry", cpu, number, entry=Word(entry), hwid=Word(hwid))
        return
    owners = (who for who, theirs in state.hwids.items() if who and theirs == entry != INVALID_HWID)
    owner = next(owners, None)
    if owner is not None:
        state.add("entry-of-another", cpu, number, entry=Word(entry), owner=owner)

"""CPU hotplug: the masks, the logical numbers and the table that secondaries scan, after every action.

online is a subset of enabled, enabled of present, present of possible; a number belongs to one hwid for
good; the entry of a number in use holds its hwid, and that of one that is not does not. Judged from the MASKS
records; whether an entry was cleaned for readers with the MMU off, from the operations where they are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from emu.arch.mpidr import INVALID_HWID
from emu.finding import Finding
from emu.operation import Expect, Kind, Mask
from emu.trace import Trace

NAME = "masks"

_LINE = 64  # bytes: what one clean by VA covers on our CPUs (CTR_EL0.DminLine)
_SUBSETS = (
    (Mask.ONLINE, Mask.ENABLED, "online, but not enabled"),
    (Mask.ENABLED, Mask.PRESENT, "enabled, but not present"),
    (Mask.PRESENT, Mask.POSSIBLE, "present, but not possible"),
    (Mask.ENABLED, Mask.STA_ENABLED, "enabled, but its _STA does not say so"),
    (Mask.ENABLED, Mask.MAPPED, "enabled, but its number is not in use"),
)


@dataclass(slots=True)
class _State:
    hwids: dict[int, int] = field(default_factory=dict)  # by EXPECT, when the machine was built
    faulty: set[int] = field(default_factory=set)
    entries: dict[int, int] = field(default_factory=dict)  # PA to CPU, where every store must be cleaned
    dirty: dict[int, int] = field(default_factory=dict)  # CPU whose entry is not clean, to who stored it
    messages: dict[str, int] = field(default_factory=dict)  # each once, with the CPU it is about


def judge(case: str, trace: Trace) -> list[Finding]:
    """Return a finding for each CPU and rule that does not hold, in each boot."""
    return [
        Finding(NAME, ("after kexec: " if number else "") + message, (cpu,), case)
        for number, rows in enumerate(trace.boots())
        for message, cpu in _judge(rows).items()
    ]


def _judge(rows: Iterator[tuple[int, ...]]) -> dict[str, int]:
    # The messages of one boot.
    state = _State()
    for kind, size, actor, pc, pa, value in rows:
        if kind == Kind.STORE:
            if pa in state.entries:
                state.dirty[state.entries[pa]] = actor
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
            _check_masks(state, actor, Mask(size), pa)
            if pc:
                _check_entry(state, actor, Mask(size), pa, value)
    return state.messages


def _check_clean(state: _State, writer: int | None = None) -> None:
    # At the end of an action; or when the writer goes on to call firmware.
    for cpu, who in sorted(state.dirty.items()):
        if writer is None or who == writer:
            del state.dirty[cpu]
            message = f"CPU{cpu}: its table entry was stored and not cleaned to the PoC"
            state.messages.setdefault(f"{message}: who reads it with the MMU off may not see it", cpu)


def _check_masks(state: _State, cpu: int, masks: Mask, hwid: int) -> None:
    if hwid != state.hwids[cpu]:
        state.messages.setdefault(f"CPU{cpu} was {state.hwids[cpu]:#x} and has become {hwid:#x}", cpu)
    if cpu in state.faulty:
        return  # v6.12 takes a CPU that dies early out of the present mask while it is registered
    for inner, outer, what in _SUBSETS:
        if inner in masks and outer not in masks:
            state.messages.setdefault(f"CPU{cpu} is {what}", cpu)


def _check_entry(state: _State, cpu: int, masks: Mask, hwid: int, entry: int) -> None:
    if Mask.MAPPED in masks:
        if entry != hwid and cpu and cpu not in state.faulty:
            message = f"CPU{cpu}: its table entry holds {entry:#x}, not its hwid {hwid:#x}"
            state.messages.setdefault(message, cpu)
        return
    owners = (who for who, theirs in state.hwids.items() if who and theirs == entry != INVALID_HWID)
    owner = next(owners, None)
    if owner is not None:
        message = f"CPU{cpu} is unmapped, but its table entry holds {entry:#x}, the hwid of CPU{owner}"
        state.messages.setdefault(message, cpu)

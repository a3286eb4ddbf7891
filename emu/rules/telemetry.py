"""What happened to each CPU against what the boot CPU reported of it.

A failure that nobody reports, a reason that is lost or put on another CPU, and a healthy CPU that is reported
dead are findings. Reports are REPORT records; what happened is where a CPU ended and what it stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from emu.finding import PC, Finding, Value, Word, end_place
from emu.operation import Expect, Kind, Report, Wanted
from emu.outcome import OFF, ONLINE, OTHER, End, Outcome
from emu.trace import Row, Trace

NAME = "telemetry"
_REASON = "CPU{cpu}: its reason ({reason}) was not reported"
_STORED = _REASON + ": it stored {value} to the early status at {pc}"
_NOT_SO = "CPU{cpu} was reported as '{reason}', which is not so"
_NO_GRANULE = "CPU{cpu} was reported as 'does not support {granule}K granule', which is not so"
_BLAMED = "; it is CPU{victim} that does not"
WORDS = {
    "online-but-reported": "CPU{cpu} is online, but was reported as failed: {line!r}",
    "panic-not-read": "CPU{cpu} asked for a panic (CPU_PANIC_KERNEL), and the boot CPU did not read it",
    "kill-not-read": "CPU{cpu} asked to be killed (CPU_KILL_ME), and the boot CPU did not read it",
    "unreported": "CPU{cpu} did not come up ({outcome}, {pc}), and nobody reported it",
    "reason-not-stored": _REASON,
    "reason-overwritten": _STORED + ", and CPU{other} stored {over} over it at {over_pc}",
    "reason-not-read": _STORED + ", and the boot CPU did not read it",
    "false-52-bit-va": _NOT_SO,
    "false-52-bit-va-of-another": _NOT_SO + _BLAMED,
    "false-granule": _NO_GRANULE,
    "false-granule-of-another": _NO_GRANULE + _BLAMED,
}
FIX = {"reason-overwritten": "a status word for each CPU, which no other CPU clears"}

_REASONS = {  # the loop in which a CPU is stuck, what is to be reported, and the finding when that is not so
    Expect.STUCK_52_BIT_VA: (Report.NO_52_BIT_VA, "false-52-bit-va"),
    Expect.STUCK_NO_GRAN: (Report.NO_GRANULE, "false-granule"),
}
# Reports that are no failure of a CPU that is to come up.
_NO_FAILURES = (Report.KILLED, Report.ACTION_FAILED)
_NOT_OF_A_CPU = (Report.BOOTED, Report.PANIC, Report.READ_ONLY)
_KINDS = frozenset({Kind.EXPECT, Kind.WANTED, Kind.LAND, Kind.STOPPED, Kind.OUTCOME, Kind.STORE, Kind.REPORT})


@dataclass(frozen=True, slots=True)
class _Reported:
    what: Report
    detail: int
    line: str
    record: int


@dataclass(slots=True)
class _Seen:
    secondary: bool = False
    faulty: bool = False
    landed: bool = False
    booted: bool = False  # it has said "Booted" since it landed
    outcome: Outcome = OTHER
    ended_at: int = 0
    record: int = -1  # of the outcome
    reported: list[_Reported] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _EarlyStore:
    # A store to the early status.
    record: int
    cpu: int
    pc: int
    pa: int
    value: int


@dataclass(slots=True)
class _Story:
    boot: int
    cpus: dict[int, _Seen] = field(default_factory=dict)
    stuck: dict[Expect, range] = field(default_factory=dict)
    early_status: range = range(0)
    stores: list[_EarlyStore] = field(default_factory=list)
    panic: bool = False
    stopped: bool = False  # the run was cut off: what has not happened says nothing

    def finding(
        self,
        what: str,
        cpus: tuple[int, ...],
        records: tuple[int, ...],
        data: dict[str, Value] | None = None,
    ) -> Finding:
        shown = tuple(record for record in records if record >= 0)
        return Finding.of(NAME, what, cpus, {"cpu": cpus[0], **(data or {})}, shown, self.boot)


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each CPU whose fate and whose report differ, in each boot."""
    findings: list[Finding] = []
    for boot, rows in enumerate(trace.numbered_boots(_KINDS)):
        story = _read(trace, boot, rows)
        for cpu, seen in sorted(story.cpus.items()):
            if seen.secondary:
                findings += _of_one(cpu, seen, story)
    return findings


def _read(trace: Trace, boot: int, rows: Iterator[tuple[int, Row]]) -> _Story:
    # What happened in one boot.
    story = _Story(boot)
    for number, (kind, size, cpu, pc, pa, value) in rows:
        seen = story.cpus.setdefault(cpu, _Seen())
        if kind == Kind.EXPECT:
            what = Expect(size)
            if what is Expect.SECONDARY:
                seen.secondary = bool(value)
            elif what is Expect.FAULTY:
                seen.faulty = bool(value)
            elif what is Expect.EARLY_STATUS:
                story.early_status = range(value, pa)
            elif what in _REASONS:
                story.stuck[what] = range(value, pa)
        elif kind == Kind.WANTED:
            seen.secondary = bool(value & Wanted.ONLINE)
        elif kind == Kind.LAND:
            seen.landed, seen.booted = True, False
        elif kind == Kind.STOPPED:
            story.stopped = True
        elif kind == Kind.OUTCOME:
            seen.outcome, seen.ended_at, seen.record = trace.outcome(size, value, pa), pc, number
        elif kind == Kind.STORE and pa in story.early_status:
            story.stores.append(_EarlyStore(number, cpu, pc, pa, value))
        elif kind == Kind.REPORT:
            story.panic = story.panic or size == Report.CPU_PANIC
            seen.booted = seen.booted or size == Report.BOOTED
            if size not in _NOT_OF_A_CPU:
                seen.reported.append(_Reported(Report(size), pa, trace.strings[value], number))
    return story


def _of_one(cpu: int, seen: _Seen, story: _Story) -> Iterator[Finding]:
    healthy = seen.outcome == ONLINE
    told = [each for each in seen.reported if each.what not in _NO_FAILURES]
    if healthy and told and not seen.faulty:
        records = (told[0].record, seen.record)
        yield story.finding("online-but-reported", (cpu,), records, {"line": told[0].line})
    waits_for_a_dead_system = story.panic and seen.landed
    absent = not healthy and not story.stopped
    if absent and seen.reported and not waits_for_a_dead_system:
        yield from _unheard(cpu, seen, story)
    if absent and not seen.reported and not waits_for_a_dead_system and (seen.faulty or seen.landed):
        data: dict[str, Value] = {"outcome": seen.outcome, "pc": end_place(seen.ended_at)}
        yield story.finding("unreported", (cpu,), (seen.record,), data)
    for loop, (reason, false) in _REASONS.items():
        is_stuck = seen.ended_at in story.stuck.get(loop, range(0))
        claim = next((each for each in seen.reported if each.what == reason), None)
        if is_stuck and seen.reported and claim is None:
            yield _lost(cpu, seen, reason, story)
        elif claim is not None and not is_stuck:
            yield _false(cpu, claim, false, loop, story)


def _unheard(cpu: int, seen: _Seen, story: _Story) -> Iterator[Finding]:
    # What a CPU that got to C asked for and did not get.
    records = (seen.record,)
    if seen.outcome.end is End.CPU_PANIC_KERNEL and not story.panic:
        yield story.finding("panic-not-read", (cpu,), records)
        return
    died = seen.landed and not seen.booted and seen.outcome == OFF
    if died and not any(each.what in (Report.DIED, Report.UNCLEAN) for each in seen.reported):
        yield story.finding("kill-not-read", (cpu,), records)


def _false(cpu: int, claim: _Reported, what: str, loop: Expect, story: _Story) -> Finding:
    # A reason that is not this CPU's, and whose it is.
    data: dict[str, Value] = {"reason": claim.what}
    if claim.what is Report.NO_GRANULE:
        data = {"granule": claim.detail}
    stuck = story.stuck.get(loop, range(0))
    victim = next((who for who, seen in sorted(story.cpus.items()) if seen.ended_at in stuck), None)
    if victim is None:
        return story.finding(what, (cpu,), (claim.record,), data)
    records = (claim.record, story.cpus[victim].record)
    return story.finding(f"{what}-of-another", (cpu, victim), records, {**data, "victim": victim})


def _lost(cpu: int, seen: _Seen, reason: Report, story: _Story) -> Finding:
    # Who wrote the reason, and who wrote over it.
    data: dict[str, Value] = {"reason": reason}
    written = next((store for store in reversed(story.stores) if store.cpu == cpu and store.value), None)
    if written is None:
        return story.finding("reason-not-stored", (cpu,), (seen.record,), data)
    data |= {"value": Word(written.value), "pc": PC(written.pc)}
    at = max(i for i, store in enumerate(story.stores) if store.cpu == cpu)
    for other in story.stores[at + 1 :]:
        if other.cpu != cpu and other.pa == written.pa:
            data |= {"other": other.cpu, "over": Word(other.value), "over_pc": PC(other.pc)}
            records = (written.record, other.record, seen.record)
            return story.finding("reason-overwritten", (cpu, other.cpu), records, data)
    return story.finding("reason-not-read", (cpu,), (written.record, seen.record), data)

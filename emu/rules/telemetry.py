"""What happened to each CPU against what the boot CPU reported of it.

A failure that nobody reports, a reason that is lost or put on another CPU, and a healthy CPU that is reported
dead are findings. Reports are the lines of dmesg; what happened is where a CPU ended and what it stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from emu.finding import Finding
from emu.operation import Expect, Kind, Wanted
from emu.outcome import OFF, ONLINE, OTHER, End, Outcome, outcome_words
from emu.trace import Trace

NAME = "telemetry"

_REASONS = {
    Expect.STUCK_52_BIT_VA: "does not support 52-bit VAs",
    Expect.STUCK_NO_GRAN: "does not support",
}
# What the boot CPU says of a CPU that did not come up, and the CPU's number in it.
_FAILED = re.compile(
    r"(?:psci: )?CPU(\d+):? (?:failed to|is stuck|does not support|died during|may not have|failed in|killed)"
)
_FAILED_WRITE = re.compile(r"emu: (\d+):\w+ failed")  # what the writer of a sysfs file was told
_BOOTED = re.compile(r"CPU(\d+): Booted secondary processor")
_PANIC = re.compile(r"Kernel panic - not syncing: CPU(\d+) ")
_REASON = re.compile(r"CPU(\d+): (does not support (?:52-bit VAs|\d+K granule))")


@dataclass(slots=True)
class _Seen:
    secondary: bool = False
    faulty: bool = False
    landed: bool = False
    booted: bool = False  # it has said "Booted" since it landed
    outcome: Outcome = OTHER
    ended_at: int = 0
    reported: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Story:
    cpus: dict[int, _Seen] = field(default_factory=dict)
    stuck: dict[Expect, range] = field(default_factory=dict)
    early_status: range = range(0)
    stores: list[tuple[int, int, int, int]] = field(default_factory=list)  # CPU, PC, PA, value
    panic: bool = False
    stopped: bool = False  # the run was cut off: what has not happened says nothing


def judge(case: str, trace: Trace) -> list[Finding]:
    """Return a finding for each CPU whose fate and whose report differ, in each boot."""
    findings = []
    for number, rows in enumerate(trace.boots()):
        story = _read(trace.strings, rows)
        where = "after kexec: " if number else ""
        for cpu, seen in sorted(story.cpus.items()):
            if not seen.secondary:
                continue
            for message, others in _of_one(cpu, seen, story):
                findings.append(Finding(NAME, where + message, (cpu, *others), case))
    return findings


def _read(strings: list[str], rows: Iterator[tuple[int, ...]]) -> _Story:
    # What happened in one boot.
    story = _Story()
    for kind, size, cpu, pc, pa, value in rows:
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
            seen.outcome, seen.ended_at = Outcome(End(size), strings[value], pa), pc
        elif kind == Kind.STORE and pa in story.early_status:
            story.stores.append((cpu, pc, pa, value))
        elif kind == Kind.LOG:
            line = strings[value]
            story.panic = story.panic or bool(_PANIC.match(line))
            booted = _BOOTED.match(line)
            if booted:
                story.cpus.setdefault(int(booted[1]), _Seen()).booted = True
            match = _FAILED.match(line) or _PANIC.match(line) or _FAILED_WRITE.match(line)
            if match:
                story.cpus.setdefault(int(match[1]), _Seen()).reported.append(line)
    return story


def _of_one(cpu: int, seen: _Seen, story: _Story) -> list[tuple[str, tuple[int, ...]]]:
    found: list[tuple[str, tuple[int, ...]]] = []
    healthy = seen.outcome == ONLINE
    told = [line for line in seen.reported if "killed" not in line and not _FAILED_WRITE.match(line)]
    if healthy and told and not seen.faulty:
        found.append((f"CPU{cpu} is online, but was reported as failed: {told[0]!r}", ()))
    waits_for_a_dead_system = story.panic and seen.landed
    absent = not healthy and not story.stopped
    if absent and seen.reported and not waits_for_a_dead_system:
        found += _unheard(cpu, seen, story)
    if absent and not seen.reported and not waits_for_a_dead_system and (seen.faulty or seen.landed):
        where = f"{outcome_words(seen.outcome)}, PC {seen.ended_at:#x}"
        found.append((f"CPU{cpu} did not come up ({where}), and nobody reported it", ()))
    claimed = {match[2] for line in seen.reported if (match := _REASON.match(line))}
    for reason, text in _REASONS.items():
        is_stuck = seen.ended_at in story.stuck.get(reason, range(0))
        says_so = any(claim.startswith(text) and _is(claim, reason) for claim in claimed)
        if is_stuck and seen.reported and not says_so:
            found.append(_lost(cpu, text if reason is Expect.STUCK_52_BIT_VA else "the granule", story))
        elif says_so and not is_stuck:
            victim = _stuck_one(reason, story)
            blame = f"; it is CPU{victim} that does not" if victim is not None else ""
            others = (victim,) if victim is not None else ()
            claim = next(claim for claim in claimed if _is(claim, reason))
            found.append((f"CPU{cpu} was reported as {claim!r}, which is not so{blame}", others))
    return found


def _unheard(cpu: int, seen: _Seen, story: _Story) -> list[tuple[str, tuple[int, ...]]]:
    # What a CPU that got to C asked for and did not get.
    if seen.outcome == Outcome(End.CPU_PANIC_KERNEL) and not story.panic:
        return [(f"CPU{cpu} asked for a panic (CPU_PANIC_KERNEL), and the boot CPU did not read it", ())]
    died = seen.landed and not seen.booted and seen.outcome == OFF
    if died and not any("died during" in line or "may not have" in line for line in seen.reported):
        return [(f"CPU{cpu} asked to be killed (CPU_KILL_ME), and the boot CPU did not read it", ())]
    return []


def _is(claim: str, reason: Expect) -> bool:
    return ("52-bit" in claim) == (reason is Expect.STUCK_52_BIT_VA)


def _stuck_one(reason: Expect, story: _Story) -> int | None:
    return next(
        (cpu for cpu, seen in sorted(story.cpus.items()) if seen.ended_at in story.stuck.get(reason, ())),
        None,
    )


def _lost(cpu: int, reason: str, story: _Story) -> tuple[str, tuple[int, ...]]:
    # Who wrote the reason, and who wrote over it.
    written = next(((pc, pa, v) for who, pc, pa, v in reversed(story.stores) if who == cpu and v), None)
    message = f"CPU{cpu}: its reason ({reason}) was not reported"
    if written is None:
        return message, ()
    pc, pa, value = written
    message += f": it stored {value:#x} to the early status at PC {pc:#x}"
    at = max(i for i, store in enumerate(story.stores) if store[0] == cpu)
    for other, other_pc, other_pa, other_value in story.stores[at + 1 :]:
        if other != cpu and other_pa == pa:
            return f"{message}, and CPU{other} stored {other_value:#x} over it at PC {other_pc:#x}", (other,)
    return f"{message}, and the boot CPU did not read it", ()

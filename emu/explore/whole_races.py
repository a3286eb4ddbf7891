"""What rules say of a boot of the whole depth: of what it has recorded, races of its accesses too."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from emu.arch.mpidr import hwid
from emu.case import Case
from emu.columns import among, both, either
from emu.explore.known_races import KNOWN
from emu.explore.races import Race, races
from emu.finding import Verdict
from emu.host.whole.boot import WholeBoot
from emu.host.whole.recording import word_reader
from emu.operation import LOADS, STORES, Expect, Kind
from emu.rules import RULES, judge
from emu.trace import Trace

_STORES = 0x80  # in the size of a RACE record
_OF_OPERATIONS = frozenset({"lost-update"})
# Caches, kexec and cache maintenance: nothing of that is recorded.
_NOT_OF_EVENTS = frozenset(
    {name for name, rule in RULES.items() if rule.sees in ("model", "kexec", "operations")}
)
_ACCESSES = frozenset({*LOADS, *STORES, Kind.BARRIER})
_EVENTS = frozenset(Kind) - _ACCESSES


_OF_ACCESSES = frozenset({"race", *_OF_OPERATIONS})
# What a boot of this depth puts into its trace, recorded or not.
_OF_EVENTS = frozenset({"arrival", "late", "masks", "readonly", "stuck", "telemetry"})
_WHY_NOT = {
    "events": "nothing of that is kept at depth whole",
    "model": "no caches at depth whole",
    "kexec": "depth secondaries has that",
    "operations": "cache maintenance is not recorded at depth whole",
    "states": "at depth whole a WFE ends by itself, and SEV does nothing",
    "properties": "no property is said at depth whole",
}


def not_judged(case: Case, *, is_flat: bool = False) -> dict[str, str]:
    """Return by rule why it says nothing of a run of ``case``, for those that do not."""
    if is_flat:
        return dict.fromkeys(RULES, "a flat image is no kernel: it says itself whether it passes")
    judged = _OF_EVENTS | _OF_ACCESSES
    found = {name: _WHY_NOT[rule.sees] for name, rule in RULES.items() if name not in judged}
    if not case.record_from:
        found |= dict.fromkeys(sorted(_OF_ACCESSES), "needs the accesses: --record-from, or --races")
    return found


@dataclass(frozen=True, slots=True)
class RacesFound:
    """The races of one run.

    :ivar races: those that are not known
    :ivar known: those that are, and what they are known by
    :ivar accesses: how many accesses and barriers were looked at
    """

    races: tuple[Race, ...] = ()
    known: tuple[tuple[Race, str], ...] = ()
    accesses: int = 0


def judge_whole(boot: WholeBoot, known: Collection[str] = ()) -> tuple[Verdict, RacesFound]:
    """Return what rules say of ``boot``, which is over and finished, and the races of what it has recorded.

    :param known: symbols of code or data whose races are meant to be, beside :data:`KNOWN`
    """
    found = _races(boot, known) if boot.case.record_from else RacesFound()
    recorder = boot.machine.recorder
    for race in found.races:
        for kind, size, cpu, pc, _pa, value in (race.first, race.second):
            size |= _STORES if kind in STORES else 0
            recorder.event(Kind.RACE, cpu, pc, value, race.pa, size)
    return _judge(boot.machine.trace), found


def _judge(trace: Trace) -> Verdict:
    # A trace of millions of accesses. Rules of events get it without them, but for what telemetry goes by;
    # those of what is not recorded here get nothing.
    early = range(0)
    for _, (_, size, _, _, pa, value) in trace.numbered(frozenset({Kind.EXPECT})):
        if size == Expect.EARLY_STATUS:
            early = range(value, pa)
    columns = trace.columns()
    wanted = columns.are(*_EVENTS)
    if early:
        wanted = either(wanted, both(columns.are(Kind.STORE), among(columns.pas, early)))
    events, numbers = trace.selected(wanted)
    found = [
        replace(finding, records=tuple(numbers[record] for record in finding.records))
        for finding in judge(events, _NOT_OF_EVENTS).findings
    ]
    return Verdict((*found, *judge(trace, frozenset(RULES) - _OF_OPERATIONS).findings))


def _races(boot: WholeBoot, known: Collection[str]) -> RacesFound:
    machine = boot.machine
    hwids = [hwid(actor.pe.mpidr) for actor in machine.actors]
    unknown: list[Race] = []
    excused: list[tuple[Race, str]] = []
    for race in races(machine.trace, hwids, word_reader(boot)):
        names = [boot.name(race.first[3]), boot.name(race.second[3]), data_name(boot, race.pa)]
        symbols = [name.partition("+")[0].partition(".")[0] for name in names]
        by = next((symbol for symbol in symbols if symbol in KNOWN or symbol in known), None)
        if by is None:
            unknown.append(race)
        else:
            excused.append((race, by))
    count = sum(machine.trace.columns().are(*_ACCESSES))
    return RacesFound(tuple(unknown), tuple(excused), count)


def data_name(boot: WholeBoot, pa: int) -> str:
    """Return ``symbol+0x10`` for a PA of the image, else the PA."""
    subject = boot.image.subject
    in_image = subject.segments[0].pa <= pa < subject.segments[0].pa + boot.image.image_size
    return subject.symbols.describe(pa + subject.va_offset & 2**64 - 1) if in_image else f"{pa:#x}"

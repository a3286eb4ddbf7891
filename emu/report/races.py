"""Races of a kernel that boots by itself, in words and as JSON."""

from __future__ import annotations

from typing import Any

from emu.explore.known_races import KNOWN
from emu.explore.races import Race, Side
from emu.explore.whole_races import RacesFound, data_name
from emu.host.whole.boot import WholeBoot
from emu.report.words import wrap


def race_lines(boot: WholeBoot, found: RacesFound) -> list[str]:
    """Return the races as lines, those that are known in one line each."""
    lines: list[str] = []
    for race in found.races:
        times = "once" if race.times == 1 else f"{race.times} times"
        text = (
            f"race: {_side(boot, race.first)} {data_name(boot, race.pa)}, and "
            f"{_side(boot, race.second)} it, with nothing that orders them; {times}"
        )
        lines += wrap(text, "  ")
    for race, symbol in found.known:
        why = KNOWN.get(symbol, "--known-race")
        lines += wrap(f"known race: {boot.name(race.first.pc)} and {boot.name(race.second.pc)}: {why}", "  ")
    count = len(found.races)
    of = f"{found.accesses:,} accesses and barriers"
    return [*lines, f"races: {count} pair{'' if count == 1 else 's'}, {len(found.known)} known, of {of}"]


def races_json(boot: WholeBoot, found: RacesFound) -> dict[str, Any]:
    """Return them as an object; VAs are hexadecimal strings."""
    return {
        "races": [_race(boot, race) for race in found.races],
        "known_races": [_race(boot, race) | {"known_by": symbol} for race, symbol in found.known],
    }


def _race(boot: WholeBoot, race: Race) -> dict[str, Any]:
    sides = [
        {"cpu": side.cpu, "pc": f"{side.pc:#x}", "at": boot.name(side.pc), "store": side.is_store}
        for side in (race.first, race.second)
    ]
    return {"pa": race.pa, "data": data_name(boot, race.pa), "sides": sides, "times": race.times}


def _side(boot: WholeBoot, side: Side) -> str:
    return f"CPU{side.cpu} at {boot.name(side.pc)} {'stores to' if side.is_store else 'loads'}"

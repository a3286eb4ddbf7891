"""Races of a kernel that boots by itself, in words and as JSON."""

from __future__ import annotations

from typing import Any

from emu.explore.known_races import KNOWN
from emu.explore.races import Race, is_store
from emu.explore.whole_races import RacesFound, data_name
from emu.host.whole.boot import WholeBoot
from emu.report.words import wrap


def race_lines(boot: WholeBoot, found: RacesFound) -> list[str]:
    """Return the races that are known, a line each, and how many there are; others are findings."""
    lines: list[str] = []
    for race, symbol in found.known:
        why = KNOWN.get(symbol, "--known-race")
        lines += wrap(f"known race: {boot.name(race.first[3])} and {boot.name(race.second[3])}: {why}", "  ")
    count = len(found.races)
    of = f"{found.accesses:,} accesses and barriers"
    return [*lines, f"races: {count} pair{'' if count == 1 else 's'}, {len(found.known)} known, of {of}"]


def races_json(boot: WholeBoot, found: RacesFound) -> dict[str, Any]:
    """Return them as an object; VAs are hexadecimal strings."""
    return {
        "accesses": found.accesses,
        "races": [_race(boot, race) for race in found.races],
        "known_races": [_race(boot, race) | {"known_by": symbol} for race, symbol in found.known],
    }


def _race(boot: WholeBoot, race: Race) -> dict[str, Any]:
    sides = [
        {"cpu": side[2], "pc": f"{side[3]:#x}", "at": boot.name(side[3]), "store": is_store(side)}
        for side in (race.first, race.second)
    ]
    return {"pa": race.pa, "data": data_name(boot, race.pa), "sides": sides, "times": race.times}

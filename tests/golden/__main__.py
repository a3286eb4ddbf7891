"""Record the golden cases.

usage: PYTHONPATH=tests python -m golden record DIRECTORY [NAME...]
       PYTHONPATH=tests python -m golden update [NAME...]

``record`` writes every output of each case to DIRECTORY/NAME/OUTPUT. Run it in two checkouts and compare
the two directories with ``diff -r``: the current directory decides which tree runs, PYTHONPATH which cases.
``update`` runs the cases and writes their digests to recorded.json. A NAME may be a pattern:
``'explore-*'``.
"""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from pathlib import Path

from golden.recording import Golden, digests, identity, read_cases, read_recorded, record, write_recorded


def _chosen(patterns: list[str]) -> list[Golden]:
    # The cases that a pattern names, all where there is none, without those whose kernel is missing.
    chosen = []
    for case in read_cases():
        if patterns and not any(fnmatchcase(case.name, pattern) for pattern in patterns):
            continue
        if case.kernel and identity(case.kernel) is None:
            print(f"{case.name}: {case.kernel} is not set", file=sys.stderr)
            continue
        chosen.append(case)
    return chosen


def _record(folder: Path, patterns: list[str]) -> None:
    for case in _chosen(patterns):
        place = folder / case.name
        place.mkdir(parents=True, exist_ok=True)
        for name, text in record(case).items():
            (place / name).write_text(text)


def _update(patterns: list[str]) -> None:
    recorded = read_recorded()
    for case in _chosen(patterns):
        found = digests(case, record(case))
        if recorded.get(case.name) != found:
            print(f"{case.name}: {'changed' if case.name in recorded else 'new'}")
        recorded[case.name] = found
    write_recorded(recorded)


def main(words: list[str]) -> int:
    """Do what the words of the command line ask for."""
    match words:
        case ["record", folder, *patterns]:
            _record(Path(folder).absolute(), patterns)
        case ["update", *patterns]:
            _update(patterns)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

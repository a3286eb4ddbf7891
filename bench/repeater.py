"""A process that runs commands of one tree's emu when it is told to: what :mod:`bench.compare` keeps two of.

It is run by its path, ``python bench/repeater.py TREE``, because the tree whose emu it imports has a
``bench`` of its own. Each line on stdin is a JSON list, the arguments of one ``emu``; each line on stdout is
an object: CPU seconds that the command took in this process and in those that it waited for, and its status.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
from pathlib import Path


def cpu_seconds() -> float:
    """Return user and system time of this process and of its children that have ended, in seconds."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def run(arguments: list[str]) -> int:
    """Run ``emu`` in this process and return its exit status."""
    from emu.cli import main  # here, so that the first run of a process pays for it as a user does

    try:
        main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def serve(tree: Path) -> None:
    """Answer every line of stdin; what the commands print is thrown away."""
    sys.path[0] = str(tree)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    for line in sys.stdin:
        arguments = json.loads(line)
        before = cpu_seconds()
        status = run(arguments)
        sys.stdout.flush()
        seconds = cpu_seconds() - before
        gc.collect()  # what one run leaves behind is not counted in the next
        import emu

        assert emu.__file__ is not None
        if not Path(emu.__file__).is_relative_to(tree):
            raise SystemExit(f"{emu.__file__}: not the emu of {tree}")
        answers.write(json.dumps({"seconds": seconds, "status": status}) + "\n")


if __name__ == "__main__":
    serve(Path(sys.argv[1]).resolve())

"""A figure of ``--compare`` that is no command: CPU time of ``emu gdb`` for steps, two servers by turns."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.cpu_time import session_seconds
from bench.gdb_client import Client
from bench.process import ROOT, environment
from bench.result import Broken
from emu.subject.fragment import load_source

_TEXT = Path(__file__).with_name("stepped.S")
_STEPS = 2000


def step_seconds(tree: Path, pairs: int, turns: int) -> tuple[list[float], list[float]]:
    """Return CPU seconds of the server for so many steps of one CPU, of the other tree and of this one.

    :param pairs: servers of each tree
    :param turns: samples of each
    :raises Broken: a server does not come up, or a step does not end as one
    """
    pc = load_source(_TEXT, nr_cpus=8).pa("step_loop")
    found: tuple[list[float], list[float]] = [], []
    for pair in range(pairs):
        with ExitStack() as stack:
            sides = [stack.enter_context(_server(root, pc)) for root in (tree, ROOT)]
            for turn in range(1 + turns):  # the first ones warm up
                for side in (0, 1) if (pair + turn) % 2 == 0 else (1, 0):
                    client, session = sides[side]
                    start = session_seconds(session)
                    for _ in range(_STEPS):
                        answer = client.ask(b"s")
                    if not answer.startswith(b"T05"):
                        raise Broken(f"emu gdb: a step is answered with {answer[:40]!r}")
                    if turn:
                        found[side].append(session_seconds(session) - start)
    return found


@contextmanager
def _server(tree: Path, pc: int) -> Iterator[tuple[Client, int]]:
    # A server of this tree with a client that stands at `pc`, and the session that it leads.
    command = [
        sys.executable,
        "-m",
        "emu",
        "gdb",
        str(_TEXT),
        "--cpus",
        "2",
        "--port",
        "0",
        "--bringup",
        "serial",
    ]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(
        command,
        cwd=tree,
        env=environment(),
        stdin=quiet,
        stdout=subprocess.PIPE,
        stderr=quiet,
        text=True,
        start_new_session=True,
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line.startswith("gdb: target remote"):
            raise Broken(f"{tree}: emu gdb: {line.strip() or 'said nothing'}")
        client = Client(int(line.rsplit(":", 1)[1]))
        for payload in (b"Z0,%x,4" % pc, b"vCont;c", b"z0,%x,4" % pc):
            client.ask(payload)
        yield client, server.pid
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()

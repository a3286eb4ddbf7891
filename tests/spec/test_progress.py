"""A command that takes a while says on a terminal what it is at; elsewhere it says nothing of it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# A second is nothing to a test: the first line comes at once.
AT_ONCE = (
    "import sys; from emu.cli import main, progress; "
    "progress.FIRST_SECONDS = progress.NEXT_SECONDS = 0.01; main(sys.argv[1:])"
)
MANY, SOME = ("v3", "--cpus", "256"), ("v2", "--cpus", "4", "--fault", "2:no-52bit-va", "--all")
COMMANDS = {
    "boot": (("boot", *MANY), r"\d+ of 255 secondaries have arrived or ended, 0\.\d+ s simulated"),
    "trace": (("trace", *MANY, "-o", "/dev/null"), r"\d+ of 255 secondaries have arrived"),
    "explore": (("explore", *SOME), r"round \d+: [\d,]+ schedule"),
    "lookup": (
        ("lookup", "v3", "--nr-cpus", "64", "--cases", "30000"),
        r"\w+ questions: [\d,]+ asked; 30,",
    ),
}

# Each command that loads a kernel, with what it says while it does.
LOADING = {
    "boot": ((), "; the primary of a kernel boots"),
    "explore": ((), "; the primary of a kernel boots"),
    "trace": (("-o", "/dev/null"), "; the primary of a kernel boots"),
    "step": (("--script", "/dev/null"), "; the primary of a kernel boots"),
    "gdb": (("--print-script", "--symbols", "/dev/null"), "; the primary of a kernel boots"),
    "info": ((), ""),
}


def on_terminal(*words: str) -> tuple[bytes, bytes]:
    """Standard output, and what a terminal gets as standard error."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", AT_ONCE, *words]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs) as child:
        os.close(theirs)
        assert child.stdout is not None
        kept = {child.stdout.fileno(): b"", ours: b""}
        left = set(kept)
        while left:
            for descriptor in select.select(sorted(left), [], [])[0]:
                try:
                    data = os.read(descriptor, 1 << 16)
                except OSError:  # Linux's end of a terminal
                    data = b""
                kept[descriptor] += data
                if not data:
                    left.discard(descriptor)
        said = kept[child.stdout.fileno()]
    os.close(ours)
    return said, kept[ours]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_terminal_is_told_what_is_done_and_how_much_is_left(name: str) -> None:
    words, shown = COMMANDS[name]
    output, told = on_terminal(*words)
    assert re.search(shown.encode(), told), told
    assert told.endswith(b"\r\x1b[K")  # the line is gone
    assert b"\x1b" not in output


@pytest.mark.parametrize("name", LOADING)
def test_a_terminal_is_told_that_a_kernel_is_loaded(name: str, real_kernel: Callable[[str], Path]) -> None:
    """Of its path the last part alone, so that there is room for the rest."""
    words, more = LOADING[name]
    kernel = real_kernel("EMU_KERNEL_SMALL")
    _, told = on_terminal(name, str(kernel), *(() if name == "info" else ("--cpus", "2")), *words)
    assert f"\r\x1b[Kloading {kernel.name}{more}"[:83].encode() in told, told


def test_without_a_terminal_nothing_is_told() -> None:
    words, _ = COMMANDS["boot"]
    done = subprocess.run([sys.executable, "-c", AT_ONCE, *words], capture_output=True, check=True)
    assert done.stderr == b""
    assert done.stdout == on_terminal(*words)[0]

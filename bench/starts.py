"""What a command costs before it has done anything: the start of Python, and what is imported."""

from __future__ import annotations

from bench.process import run_emu, run_python
from bench.result import Figures, Result, benchmark

_SECONDS_MAX = 0.25


@benchmark(
    covers="emu --help and emu info v3, start of the process to its end, assembled text from the cache; "
    "CPU time",
    limit="Python that imports click and does nothing: cold_start.click",
)
def cold_start(rounds: int, _quick: bool) -> Figures:
    """The commands that run no machine, a cold process."""
    commands = {"help": ("--help",), "info": ("info", "v3")}
    for arguments in commands.values():  # the first run assembles, which is kept
        run_emu(0, *arguments)
    seconds: dict[str, list[float]] = {name: [] for name in (*commands, "click")}
    for _ in range(rounds):
        for name, arguments in commands.items():
            seconds[name].append(run_emu(0, *arguments).cpu_seconds)
        seconds["click"].append(run_python("-c", "import click").cpu_seconds)
    yield Result("cold_start.help", "s", tuple(seconds["help"]), at_most=_SECONDS_MAX, note="emu --help")
    yield Result("cold_start.info", "s", tuple(seconds["info"]), at_most=_SECONDS_MAX, note="emu info v3")
    yield Result("cold_start.click", "s", tuple(seconds["click"]), note="python -c 'import click'")

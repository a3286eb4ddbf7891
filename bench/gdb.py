"""Single steps from gdb, and from a bare client of its protocol: emu next to QEMU's gdbstub.

Server and client are pinned to one CPU, because two processes in ping-pong on two CPUs measure the waking of
the CPUs. Both servers step the same loop of :file:`bench/stepped.S`; a third one, which has no machine, shows
what is gdb's own. gdb is set up by the script that emu writes for it; for QEMU there is none. Steps are
counted by a second of CPU time of client and server together: on an idle CPU that is a second.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from bench.process import ROOT
from bench.qemu import PROGRAM, version
from bench.result import Broken, Figures, Result, Skipped, benchmark
from emu.debug.gdb.symbols import script, symbol_file
from emu.subject import Subject
from emu.subject.fragment import load_source

GDB = "gdb-multiarch"
_TEXT = Path(__file__).with_name("stepped.S")
_ACCELERATORS = ("tcg,thread=single", "tcg,thread=multi")
_STEPS, _STEPS_RAW = 2000, 10_000
_FAR, _BACK = 1_000_000, 3  # position, and steps back for each round
_SECONDS_MAX = 120
_SCRIPT = """
set pagination off
set confirm off
{connect}
hbreak *{pc:#x}
continue
delete
python
import sys, time
sys.path.insert(0, {folder!r})
from cpu_time import session_seconds
def rates(times, command):
    start, client = session_seconds({server}), time.process_time()
    for _ in range(times):
        gdb.execute(command, to_string=True)
    server, client = session_seconds({server}) - start, time.process_time() - client
    return times / (server + client), times / server
rates(100, "stepi")
print("RATE", *rates({steps}, "stepi"))
end
kill
"""
_COVERS = (
    "steps a second of CPU time, client and server together on one CPU, by turns; of 8 CPUs the others "
    "are switched off, or host code that waits (.emu_all_run: every other CPU does a step at each)"
)
_PEER = "QEMU's gdbstub, -accel tcg, the better of one thread and many"
_LIMIT = ".null: a server with no machine, which answers every step with the same text: "


class Rates(NamedTuple):
    """Steps a second of CPU time: of client and server together, and of the server alone."""

    both: float
    server: float


# Port, session of the server, what it steps, whether gdb is set up as the server says.
Found = TypeVar("Found")
Session = Callable[[int, int, Subject, bool], Found]
Measure = Session[Rates]


@benchmark(covers="stepi of gdb-multiarch, 1 and 8 CPUs: " + _COVERS, peer=_PEER, limit=_LIMIT + "gdb itself")
def gdb_stepi(rounds: int, quick: bool) -> Figures:
    """``stepi`` of gdb-multiarch."""
    _needs(GDB, "gdb-multiarch")
    for cpus, least in ((1, 1.8), (8, 3.0)):
        yield from _side_by_side(f"gdb_stepi_{cpus}", cpus, least, rounds, quick, _gdb)


@benchmark(
    covers="s packets of a client that does nothing else, 1 and 8 CPUs: " + _COVERS,
    peer=_PEER,
    limit=_LIMIT + "the client, the socket and two switches",
)
def gdb_raw(rounds: int, quick: bool) -> Figures:
    """``s`` packets of a bare client."""
    for cpus, least in ((1, 4.0), (8, None)):
        yield from _side_by_side(f"gdb_raw_{cpus}", cpus, least, rounds, quick, _raw)


@benchmark(
    covers="bs packets of a bare client, from position 1,000,000 back, of a CPU of eight that step the loop "
    "by turns: until the stop is told. Wall time: a process that a step back ends cannot be asked for its own"
)
def gdb_reverse(rounds: int, quick: bool) -> Figures:
    """A step back at position 1,000,000."""
    subject = load_source(_TEXT, nr_cpus=8)

    def back(port: int, _server: int, _subject: Subject, _set_up: bool) -> list[float]:
        count = str(_BACK if quick else _BACK * rounds)
        command = [sys.executable, "-m", "bench.gdb_client", str(port), "back", str(_FAR), count]
        return list(json.loads(_run(command)))

    samples = _of_emu(subject, 8, back, all_run=True)
    yield Result("gdb_reverse", "ms", tuple(samples), at_most=30, note="the first and those that follow")


def _side_by_side(
    name: str, cpus: int, least: float | None, rounds: int, quick: bool, measure: Measure
) -> Figures:
    _needs(PROGRAM, "qemu-system-arm")
    subject = load_source(_TEXT, nr_cpus=8)
    trials = {each: _of_qemu(subject, cpus, each, measure).both for each in _ACCELERATORS}
    best = max(trials, key=lambda accelerator: trials[accelerator])
    theirs: list[Rates] = []
    ours: list[Rates] = []
    null: list[Rates] = []
    for _ in range(1 if quick else rounds):  # in turn, so that a slow minute of the machine slows all
        theirs.append(_of_qemu(subject, cpus, best, measure))
        ours.append(_of_emu(subject, cpus, measure))
        null.append(_of_null(subject, measure))
    pairs = list(zip(ours, theirs, null, strict=True))
    facts = {"accelerator": best, "trials": trials}
    ratios = tuple(emu.both / qemu.both for emu, qemu, _ in pairs)
    yield Result(name, "times", ratios, at_least=least, note="our rate by QEMU's", facts=facts)
    servers = tuple(emu.server / qemu.server for emu, qemu, _ in pairs)
    yield Result(f"{name}.servers", "times", servers, note="the same without the client's time")
    note = f"{version()}, -accel {best}"
    yield Result(f"{name}.qemu", "/s", tuple(rates.both for rates in theirs), note=note)
    yield Result(f"{name}.emu", "/s", tuple(rates.both for rates in ours))
    yield Result(f"{name}.null", "/s", tuple(rates.both for rates in null))
    yield Result(f"{name}.of_null", "ratio", tuple(emu.both / bare.both for emu, _, bare in pairs))
    if cpus > 1:
        samples = tuple(_of_emu(subject, cpus, measure, all_run=True).both for _ in ours)
        yield Result(f"{name}.emu_all_run", "/s", samples)


def _needs(program: str, package: str) -> None:
    if not shutil.which(program):
        raise Skipped(f"{program}: not found (Debian: {package})")


def _pin() -> None:
    # Server and client on the last of the CPUs that we may use.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _raw(port: int, server: int, subject: Subject, _set_up: bool) -> Rates:
    numbers = map(str, (port, server, subject.pa("step_loop"), _STEPS_RAW))
    return Rates(*json.loads(_run([sys.executable, "-m", "bench.gdb_client", *numbers])))


def _gdb(port: int, server: int, subject: Subject, set_up: bool) -> Rates:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "steps.gdb"
        here, place = str(Path(__file__).parent), f"127.0.0.1:{port}"
        connect = f"set architecture aarch64\ntarget remote {place}"
        if set_up:
            symbols = Path(folder) / "emu.elf"
            symbols.write_bytes(symbol_file(subject))
            connect = script(subject, symbols, place)
        pc = subject.pa("step_loop")
        path.write_text(_SCRIPT.format(connect=connect, server=server, pc=pc, steps=_STEPS, folder=here))
        out = _run([GDB, "-nx", "-batch", "-x", str(path)])
    rates = [line.split()[1:] for line in out.splitlines() if line.startswith("RATE")]
    if not rates:
        raise Broken(f"{GDB}: {out.strip().splitlines()[-1:]}")
    return Rates(*map(float, rates[0]))


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=_SECONDS_MAX, preexec_fn=_pin, check=False
    )
    if done.returncode:
        raise Broken(f"{command[0]}: status {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def _of_emu(subject: Subject, cpus: int, measure: Session[Found], *, all_run: bool = False) -> Found:
    # With one CPU to step there are two: the boot CPU, which is host code, waits for it.
    command = [sys.executable, "-m", "emu", "gdb", str(_TEXT), "--cpus", str(max(cpus, 2)), "--port", "0"]
    command += ["--bringup", "parallel" if all_run else "serial"]
    return _of_python(command, subject, measure)


def _of_null(subject: Subject, measure: Measure) -> Rates:
    pc = subject.pa("step_loop")
    return _of_python([sys.executable, "-m", "bench.null_gdb", hex(pc)], subject, measure)


def _of_python(command: list[str], subject: Subject, measure: Session[Found]) -> Found:
    # A server that says where it listens.
    with _server(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        line = server.stdout.readline().decode()
        if not line.startswith("gdb: target remote"):
            raise Broken(f"{' '.join(command[1:4])}: {line.strip() or 'said nothing'}")
        return measure(int(line.rsplit(":", 1)[1]), server.pid, subject, True)


def _of_qemu(subject: Subject, cpus: int, accelerator: str, measure: Measure) -> Rates:
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        image = Path(folder) / "stepped.bin"
        (segment,) = subject.segments
        image.write_bytes(segment.data)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        command = [PROGRAM, "-machine", "virt", "-cpu", "cortex-a72", "-smp", str(cpus), "-m", "256"]
        command += ["-display", "none", "-serial", "none", "-monitor", "none", "-nic", "none", "-S"]
        command += ["-accel", accelerator, "-gdb", f"tcp:127.0.0.1:{port}"]
        command += ["-device", f"loader,file={image},addr={segment.pa:#x},force-raw=on"]
        command += ["-device", f"loader,addr={subject.pa('secondary_entry'):#x},cpu-num=0"]
        with _server(command, stdout=subprocess.DEVNULL) as server:
            _wait_for(port)
            return measure(port, server.pid, subject, False)


@contextmanager
def _server(command: list[str], stdout: int) -> Iterator[subprocess.Popen[bytes]]:
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(
        command, cwd=ROOT, stdin=quiet, stdout=stdout, stderr=quiet, preexec_fn=_pin, start_new_session=True
    )
    try:
        yield server
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


def _wait_for(port: int) -> None:
    # QEMU takes one client, so it is not asked by connecting: it listens when the port is in the table.
    wanted = f"0100007F:{port:04X}"
    for _ in range(200):
        with open("/proc/net/tcp") as table:
            if any(wanted == line.split()[1] and line.split()[3] == "0A" for line in table):
                return
        time.sleep(0.05)
    raise Broken(f"{PROGRAM}: does not listen at port {port}")

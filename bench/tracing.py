"""Every instruction with all registers, written to a file: emu against QEMU's ``-d exec,cpu``.

``python -m bench.tracing IMAGE CPUS FILE`` is the process that one sample measures; it prints a JSON object.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.process import kernel, run_python
from bench.qemu import PROGRAM
from bench.result import Broken, Result, Skipped

CPUS = 128
_QEMU_SECONDS = 2.0
_QEMU_START_MAX = 20.0
_ENTRY = b"\nTrace "  # each instruction begins so, but for the first
_NOTE = (
    "both write all registers at each instruction. emu records every secondary of the boot, its operations "
    "too, and the host's; QEMU the primary's start. Time of emu: what it takes to run and record guest code, "
    "packed and written; .run is all of machine.run(), with the C side that is played in Python"
)


def trace_registers(rounds: int, quick: bool) -> Iterator[Result]:
    """How many times as many instructions a second emu records as QEMU, taken in turn."""
    image = kernel()
    if not shutil.which(PROGRAM):
        raise Skipped(f"{PROGRAM}: not found (Debian: qemu-system-arm)")
    ours: list[dict[str, Any]] = []
    theirs: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(1 if quick else rounds):
            theirs.append(_qemu(image, Path(folder) / "qemu.log"))
            path = Path(folder) / "emu.trace"
            ours.append(json.loads(run_python("-m", "bench.tracing", image, str(CPUS), str(path)).stdout))
    rates = tuple(run["instructions"] / run["seconds"] for run in ours)
    whole = tuple(run["instructions"] / run["seconds_run"] for run in ours)
    peer = tuple(rate for rate, _ in theirs)
    ratios = tuple(a / b for a, b in zip(rates, peer, strict=True))
    facts = {"cpus": CPUS, "instructions": ours[0]["instructions"]}
    yield Result("trace_registers", "times", ratios, at_least=2, note=_NOTE, facts=facts)
    yield Result("trace_registers.emu", "/s", rates)
    yield Result("trace_registers.run", "/s", whole)
    yield Result("trace_registers.qemu", "/s", peer)
    yield Result(
        "trace_registers.bytes", "B", tuple(run["bytes"] / run["instructions"] for run in ours), at_most=20
    )
    yield Result("trace_registers.qemu_bytes", "B", tuple(size for _, size in theirs))


def _qemu(image: str, log: Path) -> tuple[float, float]:
    # Instructions a second from the first one on, and bytes of each.
    command = [PROGRAM, "-M", "virt", "-cpu", "cortex-a72", "-m", "1G", "-accel", "tcg,thread=single"]
    command += ["-singlestep", "-d", "exec,cpu", "-D", str(log), "-kernel", image, "-append", "nokaslr"]
    command += ["-display", "none", "-monitor", "none", "-serial", "none", "-nic", "none"]
    log.unlink(missing_ok=True)
    start = time.perf_counter()
    quiet = subprocess.DEVNULL
    child = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        while not (log.exists() and log.stat().st_size):
            if child.poll() is not None or time.perf_counter() - start > _QEMU_START_MAX:
                raise Broken(f"{PROGRAM}: logs nothing")
            time.sleep(0.005)
        start = time.perf_counter()
        time.sleep(_QEMU_SECONDS)
        size, seconds = log.stat().st_size, time.perf_counter() - start
    finally:
        child.kill()
        child.wait()
    count = at = 0
    with log.open("rb") as file:
        while at < size and (data := file.read(min(1 << 24, size - at))):
            count += data.count(_ENTRY)
            at += len(data)
    log.unlink()
    return count / seconds, size / count


def record(image: str, cpus: int, path: Path) -> dict[str, Any]:
    """Record the boot of ``cpus`` CPUs; time the guest's code, and all of the run."""
    from emu.case import Case
    from emu.host.build import build
    from emu.host.tracing import record_instructions, used_symbols

    boot = build(Case(image, topology=f"flat:{cpus}"), record=True)
    record_instructions(boot)
    machine, engine = boot.machine, boot.machine.engine
    run_pe, flush, seconds, depth = engine.run, machine.trace.flush, 0.0, 0

    def timed(function: Any, *arguments: Any) -> Any:
        nonlocal seconds, depth
        depth += 1  # a full buffer is flushed within the run
        start = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            depth -= 1
            if not depth:
                seconds += time.perf_counter() - start

    engine.run = lambda *arguments: timed(run_pe, *arguments)  # type: ignore[method-assign]
    machine.trace.flush = lambda: timed(flush)  # type: ignore[method-assign]
    with path.open("wb", buffering=0) as file:
        machine.trace.attach(file)
        start = time.perf_counter()
        machine.run()
        machine.finish()
        seconds_run = time.perf_counter() - start
        machine.trace.add_symbols(used_symbols(boot))
    online = sum(actor.outcome == "online" for actor in machine.actors)
    assert online == cpus, f"{online} of {cpus} CPUs online"
    instructions = sum(actor.pe.counters.instructions for actor in machine.actors)
    return {
        "instructions": instructions,
        "seconds": seconds,
        "seconds_run": seconds_run,
        "bytes": path.stat().st_size,
    }


if __name__ == "__main__":
    print(json.dumps(record(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))

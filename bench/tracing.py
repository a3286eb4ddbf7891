"""Every instruction with all registers, written to a file: emu against QEMU's ``-d exec,cpu``.

``python -m bench.tracing primary|secondaries IMAGE N FILE`` is the process that one sample measures: N
instructions of the primary, or N CPUs; it prints a JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.cpu_time import process_seconds
from bench.process import kernel, run_python
from bench.qemu import PROGRAM, version
from bench.result import Broken, Figures, Result, benchmark
from emu.case import Case
from emu.cpu.stops import STEP_LIMIT
from emu.host.build import build, load
from emu.host.choices import parse_case
from emu.host.kernel import LoadedKernel
from emu.host.tracing import record_instructions, used_symbols
from emu.outcome import ONLINE

CPUS = 128
INSTRUCTIONS = 500_000
_QEMU_SECONDS = 2.0
_QEMU_START_MAX = 20.0
_ENTRY = b"\nTrace "  # each instruction begins so, but for the first


@benchmark(
    covers="both run the primary of Debian's 6.12 from the Image's first byte and write all registers at "
    "each instruction to a file, by turns, in CPU time of the running alone; .smp is the guest code of "
    "all secondaries of 128 CPUs, with the operations of all CPUs and the host; .smp_run is the whole of "
    "that run, with the C side that is played in Python; bytes are those of an instruction in the file",
    peer="QEMU -singlestep -d exec,cpu, one thread",
)
def trace_registers(rounds: int, quick: bool) -> Figures:
    """Every instruction with its registers, into a file."""
    image = kernel()
    program = version()
    runs: dict[str, list[dict[str, Any]]] = {"primary": [], "secondaries": []}
    theirs: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(1 if quick else rounds):
            theirs.append(_qemu(image, Path(folder) / "qemu.log"))
            for what, number in (("primary", INSTRUCTIONS), ("secondaries", CPUS)):
                path = str(Path(folder) / "emu.trace")
                done = run_python("-m", "bench.tracing", what, image, str(number), path)
                runs[what].append(json.loads(done.stdout))

    def rates(what: str, seconds: str = "seconds") -> tuple[float, ...]:
        return tuple(run["instructions"] / run[seconds] for run in runs[what])

    def sizes(what: str) -> tuple[float, ...]:
        return tuple(run["bytes"] / run["instructions"] for run in runs[what])

    peer = tuple(rate for rate, _ in theirs)
    ratios = tuple(a / b for a, b in zip(rates("primary"), peer, strict=True))
    facts = {"cpus": CPUS, "instructions": INSTRUCTIONS}
    yield Result("trace_registers", "times", ratios, at_least=2, note="our rate by QEMU's", facts=facts)
    yield Result("trace_registers.emu", "/s", rates("primary"))
    yield Result("trace_registers.qemu", "/s", peer, note=program)
    yield Result("trace_registers.smp", "/s", rates("secondaries"))
    yield Result("trace_registers.smp_run", "/s", rates("secondaries", "seconds_run"))
    yield Result("trace_bytes", "B", sizes("primary"), at_most=20)
    yield Result("trace_bytes.smp", "B", sizes("secondaries"), at_most=20)
    yield Result("trace_bytes.qemu", "B", tuple(size for _, size in theirs))


def _qemu(image: str, log: Path) -> tuple[float, float]:
    # Instructions a second of CPU time from the first one on, and bytes of each.
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
        start, begin = process_seconds(child.pid), log.stat().st_size
        time.sleep(_QEMU_SECONDS)
        seconds, size = process_seconds(child.pid) - start, log.stat().st_size
    finally:
        child.kill()
        child.wait()
    count, at = 0, begin
    with log.open("rb") as file:
        file.seek(begin)
        while at < size and (data := file.read(min(1 << 24, size - at))):
            count += data.count(_ENTRY)
            at += len(data)
    log.unlink()
    return count / seconds, (size - begin) / count


def record_primary(image: str, instructions: int, path: Path) -> dict[str, Any]:
    """Record so many instructions of the primary, from the Image's first byte on."""
    case = Case(image, topology="flat:1")
    loaded = load(parse_case(case))
    assert isinstance(loaded, LoadedKernel)
    boot = build(case)  # boots it once; then once more, in memory as the loader left it
    machine, engine, subject = boot.machine, boot.machine.engine, boot.guest.subject
    for segment in subject.segments:
        machine.memory.write_bytes(segment.pa, segment.data + bytes(segment.size - len(segment.data)))
    engine.forget_code()
    pe = machine.actors[0].pe
    engine.reset(pe, machine.entry_el, subject.pa("_text"), loaded.around.dtb_pa)
    for number in (1, 2, 3):
        pe.x[number] = 0
    record_instructions(boot)
    machine.observe()
    machine.trace.turn(0)
    with path.open("wb", buffering=0) as file:
        machine.trace.attach(file)
        start = time.process_time()
        stop = engine.run(pe, instructions)
        machine.trace.flush()
        seconds = time.process_time() - start
    assert stop == STEP_LIMIT, f"{stop} at {pe.pc:#x}"
    assert pe.counters.instructions == instructions
    return {"instructions": instructions, "seconds": seconds, "bytes": path.stat().st_size}


def record_secondaries(image: str, cpus: int, path: Path) -> dict[str, Any]:
    """Record the boot of ``cpus`` CPUs; time the guest's code, and all of the run."""
    boot = build(Case(image, topology=f"flat:{cpus}"), record=True)
    record_instructions(boot)
    machine, engine = boot.machine, boot.machine.engine
    run_pe, flush, seconds, depth = engine.run, machine.trace.flush, 0.0, 0

    def timed(function: Any, *arguments: Any) -> Any:
        nonlocal seconds, depth
        depth += 1  # a full buffer is flushed within the run
        start = time.process_time()
        try:
            return function(*arguments)
        finally:
            depth -= 1
            if not depth:
                seconds += time.process_time() - start

    engine.run = lambda *arguments: timed(run_pe, *arguments)  # type: ignore[method-assign]
    machine.trace.flush = lambda: timed(flush)  # type: ignore[method-assign]
    with path.open("wb", buffering=0) as file:
        machine.trace.attach(file)
        start = time.process_time()
        machine.run()
        machine.finish()
        seconds_run = time.process_time() - start
        machine.trace.add_symbols(used_symbols(boot))
    online = sum(actor.outcome == ONLINE for actor in machine.actors)
    assert online == cpus, f"{online} of {cpus} CPUs online"
    instructions = sum(actor.pe.counters.instructions for actor in machine.actors)
    return {
        "instructions": instructions,
        "seconds": seconds,
        "seconds_run": seconds_run,
        "bytes": path.stat().st_size,
    }


if __name__ == "__main__":
    record = record_primary if sys.argv[1] == "primary" else record_secondaries
    print(json.dumps(record(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))))

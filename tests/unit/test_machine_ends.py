"""The machine: limits, outcomes, interrupts; the same trace for the same case."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading

import pytest
from bare_machine import COUNT, make, on, outcomes, records
from bare_pe import CODE, DATA

from emu.machine import guest_code
from emu.machine.actor import Grain, HostTask
from emu.operation import (
    Delay,
    Kind,
    Log,
    Park,
    SendEvent,
    Store,
)
from emu.outcome import ended

every_grain = pytest.mark.parametrize("grain", Grain)

# -- ends -------------------------------------------------------------------------------------------


@every_grain
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_the_instruction_limit_ends_the_run_and_says_so(limit: int, grain: Grain) -> None:
    """Exact at free and instruction grain; at operation grain to the end of what began."""
    machine = on(make("l: ldr x1, [x0]\n b l", cpus=2, grain=grain, instructions_max=limit))
    machine.run()
    assert machine.stopped == f"limit of {limit} instructions (--instructions-max)"
    done = sum(actor.pe.counters.instructions for actor in machine.actors)
    assert limit <= done <= limit + (2 if grain is Grain.OPERATION else 0)
    assert outcomes(machine) == ["still running"] * 2


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("b .", "branches to itself"),
        ("wfi", "waits for an interrupt (WFI)"),
        ("wfe", "asleep in WFE"),
        ("mrs x0, s3_1_c15_c2_1", "unsupported: read of CPUECTLR_EL1 (S3_1_C15_C2_1), which cortex-a72 has"),
        ("mov x1, #1\n ldr x0, [x1]", "no code at its exception vector, ESR 0x86000010"),
        ("ldr x1, [x0, #1]!", "no code at its exception vector, ESR 0x86000010"),
    ],
)
@every_grain
def test_each_end_has_its_outcome(text: str, outcome: str, grain: Grain) -> None:
    """In the trace too, once."""
    machine = on(make(text, grain=grain))
    machine.run()
    assert outcomes(machine)[0].startswith(outcome)
    (record,) = records(machine, Kind.OUTCOME)
    assert machine.trace.outcome(record.size, record.value, record.pa) == machine.actors[0].outcome


# -- interrupts -------------------------------------------------------------------------------------


@every_grain
def test_ctrl_c_ends_a_run_between_two_picks(grain: Grain, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not lost in a hook; memory, registers and counts belong together then, and the run can go on."""
    monkeypatch.setattr(guest_code, "SLICE", 1 << 16)  # it waits for the end of one
    machine = make("l: ldxr x1, [x0]\n add x1, x1, #1\n stxr w2, x1, [x0]\n b l", grain=grain, record=False)
    machine.instructions_max = 1 << 62
    on(machine)
    main = threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    for _ in range(3):
        timer = threading.Timer(0.05, lambda: signal.pthread_kill(main.ident or 0, signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            machine.run()
        timer.join()
        assert signal.getsignal(signal.SIGINT) is before
        pe = machine.actors[0].pe
        turns, at = divmod(pe.counters.instructions, 4)
        assert pe.pc == CODE + 4 * at
        assert machine.memory.read(DATA, 8) == turns + (at > 2)
        assert pe.counters.stores == turns + (at > 2)


# -- the same trace ---------------------------------------------------------------------------------

PROGRAM = """
import hashlib, sys
sys.path[:0] = [{tests!r}, {tests!r} + "/unit"]
from test_machine_ends import example
print(example({recording}, {grain!r}, {scheduler!r}))
"""


def example(recording: bool, grain: str, scheduler: str) -> str:
    """Run three CPUs and a host task; return a hash of the whole trace."""

    def task() -> HostTask:
        for number in range(5):
            yield Store(DATA + 64 * number, number)
            yield Delay(50)
            yield Log(f"at {number}")
            yield SendEvent()
        yield Park(ended("done"))

    text = COUNT.replace("wfe", "mrs x3, cntvct_el0\n str x3, [x0, #128]\n wfe")
    machine = make(text, cpus=4, grain=Grain(grain), scheduler=scheduler, record=recording)
    machine.start_task(0, task())
    for cpu in (1, 2, 3):
        machine.power_on(cpu, CODE, DATA)
    machine.run()
    machine.finish()
    digest = hashlib.sha256(bytes(machine.trace._records))
    digest.update("\n".join(machine.trace.strings).encode())
    return digest.hexdigest()


@every_grain
@pytest.mark.parametrize("scheduler", ["round-robin", "random:3", "timed"])
@pytest.mark.parametrize("recording", [False, True])
def test_the_same_case_gives_the_same_bytes(grain: Grain, scheduler: str, recording: bool) -> None:
    """In this process, twice."""
    first = example(recording, grain.value, scheduler)
    assert example(recording, grain.value, scheduler) == first


@pytest.mark.parametrize("grain", ["free", "operation"])
def test_the_same_case_gives_the_same_bytes_in_other_processes(grain: str) -> None:
    """Whatever the hash seed and the addresses."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    program = PROGRAM.format(tests=here, recording=True, grain=grain, scheduler="random:5")
    found = {example(True, grain, "random:5")}
    for seed in ("0", "1", "random"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        found.add(done.stdout.strip())
    assert len(found) == 1


def test_machines_leave_nothing_behind() -> None:
    """A fuzzer makes thousands: the engine and every context go with the machine."""
    import gc
    import resource

    def one() -> None:
        machine = on(make(cpus=64))
        machine.run()

    for _ in range(10):
        one()
    gc.collect()
    gc.freeze()  # what the other tests hold need not be looked at 60 times
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(60):
        one()
        gc.collect()
    gc.unfreeze()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 20_000, f"{(after - before) / 60:.0f} KiB per machine"

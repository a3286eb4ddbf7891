"""What every bring-up keeps to: it brings the CPUs of a design up, in any order, or says which one not."""

from __future__ import annotations

import pytest
from booting import Run, run

from emu.arch.psci import Function
from emu.host.bringup import STRATEGIES
from emu.host.cpuhp import Cpuhp, SyncState
from emu.operation import Kind

every_strategy = pytest.mark.parametrize("name", STRATEGIES)


def log_of(done: Run) -> list[str]:
    trace = done.boot.machine.trace
    return [trace.text_of(record) for record in trace if record.kind is Kind.LOG]


@every_strategy
@pytest.mark.parametrize("grain", ["free", "operation"])
def test_it_kicks_each_cpu_once_and_brings_it_online(name: str, grain: str) -> None:
    done = run(f"v3 topology=flat:5 bringup={name} grain={grain}")
    assert (done.messages, done.outcomes) == ([], ["online"] * 5)
    assert done.boot.core.state == [Cpuhp.CPUHP_ONLINE] * 5
    trace = done.boot.machine.trace
    assert sorted(record.actor for record in trace if record.kind is Kind.POWER_ON) == [1, 2, 3, 4]
    calls = [record for record in trace if record.kind is Kind.CALL and record.value == Function.CPU_ON64]
    assert len(calls) == 4


@every_strategy
def test_each_ap_ends_as_its_strategy_says_of_the_alive_synchronisation(name: str) -> None:
    done = run(f"v3 topology=flat:3 bringup={name}")
    data, memory = done.boot.guest.data, done.boot.machine.memory
    assert [memory.read(data.sync_state(cpu), 4) for cpu in (1, 2)] == [SyncState.SYNC_STATE_ONLINE] * 2


@every_strategy
@pytest.mark.parametrize("append", ["maxcpus=0", "maxcpus=2", "nr_cpus=3"])
def test_it_brings_no_more_up_than_the_command_line_allows(name: str, append: str) -> None:
    done = run(f"v3 topology=flat:4 bringup={name} append={append}")
    online = {"maxcpus=0": 1, "maxcpus=2": 2, "nr_cpus=3": 3}[append]
    assert (done.messages, done.outcomes.count("online")) == ([], online)


@every_strategy
@pytest.mark.parametrize("el", [1, 2])
def test_no_order_of_operations_matters_to_it(name: str, el: int) -> None:
    """Random schedules, caches that need maintenance, and event registers that are set or not."""
    for seed in range(3):
        done = run(
            f"v3 topology=flat:3 bringup={name} el={el} scheduler=random:{seed} grain=operation "
            f"memory=caches event-register={seed % 2}"
        )
        assert (done.messages, done.outcomes) == ([], ["online"] * 3)


@every_strategy
def test_a_cpu_that_never_comes_is_reported_and_keeps_no_other_one_from_coming(name: str) -> None:
    done = run(f"v3 topology=flat:4 bringup={name} fault=2:never-starts")
    assert [done.outcomes[cpu] for cpu in (0, 1, 3)] == ["online"] * 3
    assert done.boot.core.state[2] == Cpuhp.CPUHP_OFFLINE
    assert any(line.startswith("CPU2") and "failed" in line for line in log_of(done))


@every_strategy
def test_every_cpu_goes_down_and_up_again(name: str) -> None:
    done = run(f"v3 topology=flat:3 bringup={name} cycle=2")
    assert (done.messages, done.outcomes) == ([], ["online"] * 3)
    assert log_of(done).count("psci: CPU2 killed (polled 0 ms)") == 2


@every_strategy
def test_it_gives_the_same_twice(name: str) -> None:
    case = f"v3 topology=flat:3 bringup={name}"
    assert run(case).trace_bytes == run(case).trace_bytes

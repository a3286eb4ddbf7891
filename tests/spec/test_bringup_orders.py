"""The cpuhp core: states and roll-back, the three strategies, limits, hotplug cycles, and what they must not
do.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from booting import Run, finish, run

from emu.arch.psci import Function
from emu.case import Case
from emu.designs import DESIGNS
from emu.errors import InvalidCase
from emu.host.bringup import STRATEGIES
from emu.host.build import Boot, build
from emu.host.cpuhp import NAMES, Core, Cpuhp, SyncState
from emu.operation import Kind, LoadUntil, Operation

PARALLEL = sorted(name for name, design in DESIGNS.items() if design.parallel)


def log_of(done: Run) -> list[str]:
    trace = done.boot.machine.trace
    return [trace.text_of(record) for record in trace if record.kind is Kind.LOG]


def booted(text: str) -> Boot:
    return build(Case.parse(text))


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
@pytest.mark.parametrize("design", sorted(DESIGNS))
def test_every_design_comes_up_under_every_strategy_that_it_supports(design: str, strategy: str) -> None:
    if strategy == "parallel" and not DESIGNS[design].parallel:
        with pytest.raises(InvalidCase, match="--force runs it all the same"):
            run(f"{design} bringup={strategy}")
        return
    done = run(f"{design} bringup={strategy}")
    assert done.messages == []
    assert done.outcomes == ["online"] * 8
    assert done.boot.core.state == [Cpuhp.CPUHP_ONLINE] * 8


@pytest.mark.parametrize("design", PARALLEL)
def test_strategies_end_in_the_same_state(design: str) -> None:
    ends = []
    for strategy in ("serial", "split", "parallel"):
        done = run(f"{design} bringup={strategy}")
        boot = done.boot
        sync = [boot.machine.memory.read(boot.guest.data.sync_state(cpu), 4) for cpu in range(8)]
        ends.append((list(boot.core.state), sync[1:], done.outcomes))
    assert ends[0] == ends[1] == ends[2]
    assert ends[0][1] == [SyncState.SYNC_STATE_ONLINE] * 7


def kicks_while_others_are_on_their_way(done: Run) -> int:
    started, arrived, overlaps = 0, 0, 0
    for record in done.boot.machine.trace:
        if record.kind is Kind.CALL and record.value == Function.CPU_ON64:
            overlaps += started > arrived
            started += 1
        elif record.kind is Kind.LAND:
            arrived += 1
    return overlaps


@pytest.mark.parametrize("grain", ["free", "operation"])
def test_only_parallel_overlaps_kicks(grain: str) -> None:
    overlaps = {
        name: kicks_while_others_are_on_their_way(run(f"v3 bringup={name} grain={grain}"))
        for name in STRATEGIES
    }
    assert overlaps["serial"] == overlaps["split"] == 0
    assert overlaps["parallel"] == 6


def test_states_have_the_kernels_names_in_the_kernels_order() -> None:
    assert set(NAMES) == set(Cpuhp)
    order = ["offline", "threads:prepare", "cpu:kick_ap", "cpu:bringup", "ap:offline", "ap:online", "online"]
    positions = [next(state for state, name in NAMES.items() if name == wanted) for wanted in order]
    assert positions == sorted(positions)


def callback(log: list[tuple[str, int]], what: str, result: int = 0):
    def run_it(cpu: int) -> Generator[Operation, Any, int]:
        log.append((what, cpu))
        yield from ()
        return result

    return run_it


def test_registered_callbacks_run_in_state_order_on_the_way_up_and_back_on_the_way_down() -> None:
    boot = booted("v3 topology=flat:2 bringup=split cycle=1")
    log: list[tuple[str, int]] = []
    for state in (Cpuhp.CPUHP_BP_PREPARE_DYN, Cpuhp.CPUHP_AP_ONLINE_DYN, Cpuhp.CPUHP_AP_ACTIVE):
        boot.core.steps[state].startup = callback(log, f"up {state.name}")
        boot.core.steps[state].teardown = callback(log, f"down {state.name}")
    finish(boot)
    up = [f"up {name}" for name in ("CPUHP_BP_PREPARE_DYN", "CPUHP_AP_ONLINE_DYN", "CPUHP_AP_ACTIVE")]
    down = [f"down {name}" for name in ("CPUHP_AP_ACTIVE", "CPUHP_AP_ONLINE_DYN", "CPUHP_BP_PREPARE_DYN")]
    assert [what for what, _cpu in log] == up + down + up


def test_failing_prepare_callback_rolls_back_and_the_cpu_is_never_kicked() -> None:
    boot = booted("v3 topology=flat:3 bringup=split")
    log: list[tuple[str, int]] = []
    boot.core.steps[Cpuhp.CPUHP_PERF_PREPARE].teardown = callback(log, "undone")
    boot.core.steps[Cpuhp.CPUHP_TIMERS_PREPARE].startup = callback(log, "failed", -12)
    done = finish(boot)
    assert log == [("failed", 1), ("undone", 1), ("failed", 2), ("undone", 2)]
    assert boot.core.state[1:] == [Cpuhp.CPUHP_OFFLINE] * 2
    assert done.outcomes[1:] == ["off"] * 2


def test_failing_online_callback_leaves_the_cpu_in_online_idle() -> None:
    """The AP's hotplug thread undoes its own states; the CPU stays in CPUHP_AP_ONLINE_IDLE."""
    boot = booted("v3 topology=flat:2 bringup=split")
    log: list[tuple[str, int]] = []
    boot.core.steps[Cpuhp.CPUHP_AP_WORKQUEUE_ONLINE].teardown = callback(log, "undone")
    boot.core.steps[Cpuhp.CPUHP_AP_ACTIVE].startup = callback(log, "failed", -12)
    finish(boot)
    assert log[:2] == [("failed", 1), ("undone", 1)]


@pytest.mark.parametrize(
    ("append", "online"),
    [("maxcpus=1", 1), ("maxcpus=3", 3), ("maxcpus=0", 1), ("nosmp", 1), ("nr_cpus=4", 4), ("maxcpus=99", 8)],
)
@pytest.mark.parametrize("strategy", ["serial", "split", "parallel"])
def test_limits_of_the_command_line_hold(append: str, online: int, strategy: str) -> None:
    """KERNEL defect 16: maxcpus=0 must not bring up everything (a count that is tested after its
    decrement).
    """
    done = run(f"v3 bringup={strategy} append='{append}'")
    assert done.outcomes.count("online") == online
    assert f"smp: Brought up 1 node, {online} CPU{'s' if online > 1 else ''}" in log_of(done)
    assert done.messages == []


def test_two_hundred_and_fifty_six_cpus_are_all_256() -> None:
    """KERNEL defect 16: 255 of 256 CPUs, off by one."""
    assert run("v3 topology=flat:256 nr-cpus=256").outcomes.count("online") == 256


def test_cpuhp_parallel_0_splits_and_does_not_overlap() -> None:
    done = run("v3 append=cpuhp.parallel=0")
    assert done.boot.case.bringup == "split"
    assert kicks_while_others_are_on_their_way(done) == 0


def test_smt_siblings_wait_for_all_primary_threads(tmp_path) -> None:
    path = tmp_path / "smt.json"
    cpus = ", ".join(
        f'{{"hwid": "{core << 8 | thread:#x}", "thread": {thread}}}' for core in range(3) for thread in (0, 1)
    )
    path.write_text(f'{{"cpus": [{cpus}]}}')
    done = run(f"v3 topology={path} bringup=parallel")
    order = [record.actor for record in done.boot.machine.trace if record.kind is Kind.POWER_ON]
    assert order == [2, 4, 1, 3, 5]
    assert done.messages == []


@pytest.mark.parametrize("strategy", ["split", "parallel", "serial"])
@pytest.mark.parametrize("design", ["mainline", "v2", "v3", "context-id"])
def test_cycles_take_every_cpu_down_and_up_again(design: str, strategy: str) -> None:
    if strategy == "parallel" and not DESIGNS[design].parallel:
        strategy = "split"
    done = run(f"{design} topology=flat:4 bringup={strategy} cycle=3")
    assert done.messages == []
    assert done.outcomes == ["online"] * 4
    assert log_of(done).count("psci: CPU2 killed (polled 0 ms)") == 3
    assert log_of(done).count("CPU2: Booted secondary processor 0x0000000002 [0x410fd083]") == 4


def test_rfc_slots_are_read_only_after_init_so_nothing_comes_up_again() -> None:
    """KERNEL defect 4: cpu_boot_data is __ro_after_init, yet every later bring-up writes it."""
    done = run("rfc topology=flat:3 cycle=1")
    assert any(line.startswith("Unable to handle kernel write to read-only memory") for line in log_of(done))
    assert done.outcomes[1:] == ["off", "off"]
    assert run("v2 topology=flat:3 cycle=1").messages == []


def test_cpu_in_limbo_is_not_kicked_again() -> None:
    """A CPU that was released after ALIVE and then vanished is in SHOULD_ONLINE: -EAGAIN, no kick."""
    boot = booted("v3 topology=flat:3 bringup=split")
    boot.machine.memory.write(boot.guest.data.sync_state(1), 4, SyncState.SYNC_STATE_SHOULD_ONLINE)
    done = finish(boot)
    assert done.outcomes == ["online", "off", "online"]
    assert boot.core.state[1] == Cpuhp.CPUHP_OFFLINE


def test_unsupported_pairs_are_refused_with_the_reason() -> None:
    with pytest.raises(InvalidCase, match="releases one CPU at a time"):
        run("v3 enable-method=spin-table bringup=parallel")
    with pytest.raises(InvalidCase, match="has one secondary_data for all CPUs"):
        run("mainline bringup=parallel")
    with pytest.raises(InvalidCase, match="cannot take a CPU down"):
        run("v3 enable-method=spin-table cycle=1")
    with pytest.raises(InvalidCase, match="contradicts"):
        run("v3 bringup=parallel append=cpuhp.parallel=0")


def synchronize_rcu(core: Core) -> Generator[Operation, Any, int]:
    """Wait for every CPU that RCU knows of to have been idle once."""
    for cpu in range(core.cpus):
        yield LoadUntil(core.data.rcu(cpu), 4, 0)
    return 0


def test_synchronize_rcu_in_a_prepare_step_hangs_behind_an_ap_that_reported_starting_too_early() -> None:
    """The 6.12 order has RCU's "CPU starting" before the alive synchronisation: a livelock in parallel
    mode.
    """
    ends = {}
    for base in ("6.12", "v3"):
        boot = booted(f"v3 topology=flat:3 bringup=parallel base={base} grain=operation")
        core = boot.core

        core.steps[Cpuhp.CPUHP_BRINGUP_CPU].startup, bring = None, core.steps[Cpuhp.CPUHP_BRINGUP_CPU].startup
        assert bring is not None

        def after_grace_period(cpu: int, bring=bring, core=core) -> Generator[Operation, Any, int]:
            yield LoadUntil(core.data.sync_state(cpu), 4, SyncState.SYNC_STATE_ALIVE)
            yield from synchronize_rcu(core)
            return (yield from bring(cpu))

        core.steps[Cpuhp.CPUHP_BRINGUP_CPU].startup = after_grace_period
        ends[base] = finish(boot).outcomes
    assert ends["v3"] == ["online"] * 3
    assert ends["6.12"][0] == "in synchronize_rcu"

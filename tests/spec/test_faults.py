"""Faults and what the boot CPU says of them, design by design; each known defect where it is and where it is
not.
"""

from __future__ import annotations

import pytest
from booting import Run, run

from emu.arch import boot as abi
from emu.designs import DESIGNS
from emu.errors import InvalidCase
from emu.operation import Kind

FIVE = "4:no-52bit-va,6:no-granule,16:kill-me,17:die-early,18:panic"
FOUR = FIVE.rpartition(",")[0]


def log_of(done: Run) -> list[str]:
    trace = done.boot.machine.trace
    return [trace.text_of(record) for record in trace if record.kind is Kind.LOG]


def told_of(done: Run, *cpus: int) -> list[str]:
    names = tuple(f"CPU{cpu}{end}" for cpu in cpus for end in (":", " "))
    return [line for line in log_of(done) if line.removeprefix("psci: ").startswith(names) or "panic" in line]


def test_published_log_of_v3_with_five_faults_comes_out_line_by_line() -> None:
    """The v3 series' own fault injection on 64 CPUs, in parallel."""
    done = run(f"v3 topology=flat:64 bringup=parallel fault={FIVE}")
    assert told_of(done, 4, 6, 16, 17, 18) == [
        "CPU4 failed to report alive state",
        "CPU4: is stuck in kernel",
        "CPU4: does not support 52-bit VAs",
        "CPU6 failed to report alive state",
        "CPU6: is stuck in kernel",
        "CPU6: does not support 4K granule",
        "CPU16 failed to report alive state",
        "psci: CPU16 killed (polled 0 ms)",
        "CPU16: died during early boot",
        "CPU17: will not boot",
        "CPU17 failed to report alive state",
        "psci: CPU17 killed (polled 0 ms)",
        "CPU17: died during early boot",
        "CPU18 failed to report alive state",
        "Kernel panic - not syncing: CPU18 detected unsupported configuration",
    ]
    assert all(done.outcomes[cpu] == "online" for cpu in (*range(1, 4), 5, *range(7, 16)))
    assert done.messages == []


def test_failed_cpus_cost_ten_seconds_each_and_the_rest_come_up() -> None:
    done = run(f"v3 topology=flat:20 bringup=parallel fault={FOUR}")
    assert done.outcomes.count("online") == 16
    assert 40.0 <= done.boot.machine.now / 1e9 <= 40.1


@pytest.mark.parametrize("design", ["rfc", "v2"])
def test_lost_reasons_name_the_cpu_and_both_writers(design: str) -> None:
    """KERNEL defects 5 and 6: a passing CPU zeroes the shared early status, and nobody decodes it anyway."""
    done = run(f"{design} topology=flat:20 bringup=parallel fault={FOUR}")
    lost = [message for message in done.messages if "was not reported" in message]
    assert [message.split(":")[0] for message in lost] == ["CPU4", "CPU6"]
    for message in lost:
        assert "stored 0x102 to the early status at PC 0x" in message or "stored 0x202 to" in message
        assert "stored 0x0 over it at PC 0xffff8000" in message
    assert run(f"v3 topology=flat:20 bringup=parallel fault={FOUR}").messages == []


@pytest.mark.parametrize("design", ["rfc", "v2"])
@pytest.mark.parametrize(
    ("kind", "says"), [("kill-me", "asked to be killed"), ("panic", "asked for a panic")]
)
def test_what_a_cpu_asked_for_and_did_not_get_is_a_finding(design: str, kind: str, says: str) -> None:
    """KERNEL defect 6: with the decoding compiled out nobody kills, and nobody panics."""
    assert [says in message for message in run(f"{design} fault=2:{kind}").messages] == [True]
    assert run(f"v3 fault=2:{kind}").messages == []


@pytest.mark.parametrize("strategy", ["serial", "split", "parallel"])
def test_cpus_that_a_panic_kept_from_being_kicked_are_no_finding(strategy: str) -> None:
    assert run(f"v3 bringup={strategy} fault=2:panic").messages == []


def test_second_cpu_on_while_the_first_is_pending_returns_on_pending() -> None:
    """DEN0022 5.6: ON_PENDING (-5), and AFFINITY_INFO 2, until the CPU starts."""
    done = run("v3 topology=flat:3 bringup=split fault=1:late:15000000000 cycle=1")
    returns = [r.value for r in done.boot.machine.trace if r.kind is Kind.RETURN]
    assert 2**64 - 5 in returns
    assert not any("switched on while it was on" in message for message in done.messages)


def test_a_run_that_was_cut_off_says_nothing_of_what_has_not_happened() -> None:
    done = run("v3 instructions-max=300")
    assert done.boot.machine.stopped
    assert done.messages == []


def test_no_match_is_refused_where_the_host_fills_no_table() -> None:
    with pytest.raises(InvalidCase, match="no table that the host fills"):
        run("mainline fault=2:no-match")


@pytest.mark.parametrize(
    ("faults", "why"),
    [
        ("2:wrong-el,2:wrong-el", "2:wrong-el: beside fault=2:wrong-el: one of a kind is enough"),
        ("1-2:late:5,2:late:7", "2:late: beside fault=2:late: one of a kind is enough"),
        ("2:no-match,2:no-granule", "2:no-granule: beside fault=2:no-match: each of them ends the CPU"),
        ("2:panic,2:no-52bit-va", "2:no-52bit-va: beside fault=2:panic: each of them ends the CPU"),
        ("2:late:5,2:never-starts", "2:never-starts: beside fault=2:late: a CPU that is never started"),
        ("2:setup-refused,2:die-early", "2:die-early: beside fault=2:setup-refused: a CPU that is never"),
    ],
)
def test_a_fault_that_another_one_of_its_cpu_hides_is_refused(faults: str, why: str) -> None:
    """Two of wrong-el made a CPU that was right."""
    with pytest.raises(InvalidCase, match=why):
        run(f"v3 topology=flat:3 fault={faults}")


def test_faults_of_one_cpu_that_both_act_are_taken() -> None:
    done = run("v3 topology=flat:3 fault=2:wrong-el,2:die-early,2:late:5,1:die-early")
    assert "CPU: CPUs started in inconsistent modes" in log_of(done)
    assert done.outcomes[1:] == run("v3 topology=flat:3 fault=1-2:die-early").outcomes[1:]


def test_stuck_cpus_are_counted_where_failures_are_decoded() -> None:
    """KERNEL defect 6: cpus_stuck_in_kernel."""
    for design, stuck in (("v3", 2), ("v2", 0)):
        done = run(f"{design} bringup=parallel fault=2:no-52bit-va,3:no-granule")
        assert done.boot.machine.memory.read(done.boot.guest.data.stuck, 4) == stuck


@pytest.mark.parametrize("design", ["mainline", "v3", "context-id"])
@pytest.mark.parametrize("strategy", ["serial", "split"])
def test_one_failure_at_a_time_is_told_rightly(design: str, strategy: str) -> None:
    done = run(f"{design} bringup={strategy} fault=3:no-52bit-va")
    assert "CPU3: does not support 52-bit VAs" in log_of(done)
    assert done.messages == []
    assert done.outcomes.count("online") == 7


def test_shared_reason_bytes_blame_another_cpu() -> None:
    """The older shared-status branch: a reason that one CPU left is read for the next that fails."""
    done = run("context-id bringup=parallel fault=2:never-starts,4:no-52bit-va")
    assert "CPU2: does not support 52-bit VAs" in log_of(done)
    assert any("CPU2 was reported as" in m and "it is CPU4 that does not" in m for m in done.messages)
    assert run("v3 bringup=parallel fault=2:never-starts,4:no-52bit-va").messages == []


def test_die_early_with_the_present_bit_cleared_is_lost_in_parallel_mode_only() -> None:
    """KERNEL defect 12: both passes iterate the present mask live."""
    lost = run("v3 bringup=parallel base=6.12 fault=3:die-early")
    assert told_of(lost, 3) == ["CPU3: will not boot"]
    assert any(m.startswith("CPU3 did not come up") and "nobody reported it" in m for m in lost.messages)
    kept = run("v3 bringup=parallel base=v3 fault=3:die-early")
    assert "CPU3: died during early boot" in log_of(kept)
    assert kept.messages == []
    assert run("v3 bringup=split base=6.12 fault=3:die-early").messages == []


def test_v3_unmatched_mpidr_looks_like_a_cpu_that_never_started() -> None:
    """KERNEL defect 7: no status is left by a CPU that finds itself in no table."""
    unmatched = told_of(run("v3 fault=3:no-match"), 3)
    never = told_of(run("v3 fault=3:never-starts"), 3)
    assert unmatched == never == ["CPU3 failed to report alive state", "CPU3: failed in unknown state : 0x0"]


def test_rfc_unmatched_mpidr_branches_to_itself_for_ever() -> None:
    done = run("rfc fault=3:no-match")
    assert done.outcomes[3] == "branches to itself"


def test_v3_stale_reason_survives_to_the_next_attempt() -> None:
    """KERNEL defect 8: the status array is never cleared, so a later silent failure shows an earlier
    reason.
    """
    done = run("v3 topology=flat:3 bringup=split fault=2:no-52bit-va cycle=1")
    guest = done.boot.guest
    pa = guest.subject.pa("__early_cpu_boot_status") + 8 * 2
    assert done.boot.machine.memory.read(pa, 8) == abi.CPU_STUCK_IN_KERNEL | abi.CPU_STUCK_REASON_52_BIT_VA


@pytest.mark.parametrize("kind", ["context-lost", "context-truncated", "context-swapped:2"])
def test_context_id_design_depends_on_firmware_handing_the_context_id_over(kind: str) -> None:
    """Firmware that loses, truncates or swaps it; the look-up designs take none, so it is refused there."""
    assert run(f"context-id fault=3:{kind}").outcomes[3] != "online"
    with pytest.raises(InvalidCase, match="no secondary takes a context ID"):
        run(f"v3 fault=3:{kind}")


def test_lost_context_falls_back_to_the_global_data_that_nobody_filled() -> None:
    done = run("context-id fault=3:context-lost")
    subject = done.boot.guest.subject
    assert done.boot.machine.actors[3].pe.pc - 4 == subject.va("__secondary_too_slow")
    assert "CPU3 failed to report alive state" in log_of(done)


def test_swapped_context_gives_two_cpus_one_task() -> None:
    done = run("context-id fault=3:context-swapped:2")
    assert done.messages[0].startswith("CPU2, CPU3 took the task ")


def test_truncated_context_faults_at_the_truncated_address() -> None:
    done = run("context-id fault=3:context-truncated")
    exceptions = [r for r in done.boot.machine.trace if r.kind is Kind.EXCEPTION and r.actor == 3]
    assert exceptions[0].pa == done.boot.guest.slot_va(3) & 0xFFFF_FFFF


def test_double_start_is_a_finding() -> None:
    done = run("v3 fault=2:double-start grain=operation append=maxcpus=8")
    assert any("CPU2 was switched on while it was on" in m for m in done.messages)
    assert any("came to secondary_start_kernel again without having been off" in m for m in done.messages)


def test_late_cpu_within_the_time_out_is_waited_for() -> None:
    assert run("v3 fault=3:late:9000000000").outcomes == ["online"] * 8


def test_late_cpu_after_the_time_out_finds_no_task() -> None:
    """The boot CPU has given up and cleared the slot: the CPU parks instead of running on freed memory."""
    done = run("v3 fault=3:late:11000000000")
    assert "CPU3 failed to report alive state" in log_of(done)
    assert done.outcomes[3] == "asleep in WFE"


@pytest.mark.parametrize("scheduler", ["timed", "boot-first", "random:7"])
@pytest.mark.parametrize("ns", [5, 3_000_000, 11_000_000_000])
def test_late_is_so_much_more_alive_of_the_latency_profile(ns: int, scheduler: str) -> None:
    """One meaning: the CPU_ON is pending for that time, in any order of CPUs."""
    case = f"v3 topology=flat:4 scheduler={scheduler}"
    late, slow = run(f"{case} fault=2:late:{ns}"), run(f"{case} latency=nominal,alive@2={ns}ns")
    assert without_expectations(late) == without_expectations(slow)
    both = run(f"{case} fault=2:late:{ns} latency=nominal,alive@2=7ns")
    more = run(f"{case} latency=nominal,alive@2={ns + 7}ns")
    assert without_expectations(both) == without_expectations(more)


def without_expectations(done: Run) -> list[tuple[int, ...]]:
    return [row for row in done.boot.machine.trace.rows() if row[0] != Kind.EXPECT]


def test_denied_then_success() -> None:
    """KERNEL defect 13: DENIED is -EPERM, which the kernel does not call an error; a later attempt works."""
    done = run("v3 topology=flat:3 bringup=split fault=2:denied:1 cycle=1")
    assert done.outcomes == ["online"] * 3
    assert not any("failed to boot" in line for line in log_of(done))


def test_refuse_after_off_shows_at_the_next_bring_up() -> None:
    done = run("v3 topology=flat:3 bringup=split fault=2:refuse-after-off cycle=1")
    assert "CPU2: failed to boot: -22" in log_of(done)
    assert done.outcomes == ["online", "online", "off"]


@pytest.mark.parametrize("el", [1, 2])
def test_wrong_el_is_inconsistent_modes(el: int) -> None:
    """KERNEL defect 15: secondaries that enter at different exception levels."""
    done = run(f"v3 el={el} fault=2:wrong-el")
    assert "CPU: CPUs started in inconsistent modes" in log_of(done)
    assert any("__boot_cpu_mode is" in message for message in done.messages)


@pytest.mark.parametrize("design", DESIGNS)
def test_a_cpu_that_is_late_by_much_ends_without_hanging_under_every_design(design: str) -> None:
    """By 1 it is a case of the conformance suite, which has all faults under all designs."""
    done = run(f"{design} topology=flat:4 fault=2:late:1000 instructions-max=5000000")
    assert done.boot.machine.stopped == ""


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("4", "CPU:KIND"),
        ("x:panic", "CPU:KIND"),
        ("4:explode", "explode is not one of"),
        ("0:panic", "the secondaries are CPU1..CPU7"),
        ("8:panic", "the secondaries are CPU1..CPU7"),
        ("5-3:panic", "the secondaries are"),
        ("4:late", "late takes the delay in ns"),
        ("4:panic:3", "panic takes no argument"),
        ("4:context-swapped:9", "the secondaries are"),
    ],
)
def test_bad_fault_specification_says_what_is_wrong(fault: str, says: str) -> None:
    with pytest.raises(InvalidCase, match=says):
        run(f"v3 fault={fault}")


@pytest.mark.parametrize("design", ["rfc", "v2", "v3"])
def test_refused_cpu_keeps_its_table_entry_in_rfc_alone(design: str) -> None:
    """KERNEL defect 3: the entry is written before smp_cpu_setup() has its say, and nothing takes it back."""
    done = run(f"{design} topology=flat:4 fault=2:setup-refused")
    guest = done.boot.guest
    table = guest.design.lookup_table
    assert table is not None
    entry = done.boot.machine.memory.read(guest.subject.pa(table) + 8 * 2, 8)
    assert entry == (guest.hwids[2] if design == "rfc" else guest.design.lookup_table_unused)
    assert done.outcomes == ["online", "online", "off", "online"]
    assert done.messages == []


def test_v3_packs_the_status_of_many_cpus_in_one_line_that_each_invalidates() -> None:
    """KERNEL defect 8: store, dmb, dc ivac on a line that other CPUs store to as well."""
    done = run("v3 fault=4:no-52bit-va,6:no-granule", record=True)
    status = done.boot.guest.subject.pa("__early_cpu_boot_status")
    lines = {
        r.actor: r.pa // 64
        for r in done.boot.machine.trace
        if r.kind is Kind.CACHE and r.pa >= status and r.actor in (4, 6)
    }
    assert lines == {4: status // 64, 6: status // 64}


def test_v2_asks_the_boot_cpus_enable_method(tmp_path) -> None:
    """KERNEL defect 11: get_cpu_ops(0) says PSCI, but the secondaries are on spin-table with its one word."""
    path = tmp_path / "mixed.json"
    path.write_text('{"cpus": [{"hwid": 0, "enable_method": "psci"}, {"hwid": 1}, {"hwid": 2}, {"hwid": 3}]}')
    wrong = run(f"v2 topology={path} enable-method=spin-table")
    assert wrong.boot.case.bringup == "parallel"
    assert wrong.outcomes.count("online") < 4
    right = run(f"v3 topology={path} enable-method=spin-table")
    assert right.boot.case.bringup == "serial"
    assert right.outcomes == ["online"] * 4


def test_ranges_and_several_faults_add_up() -> None:
    done = run("v3 fault=2-3:never-starts,5:no-granule")
    assert [cpu for cpu, outcome in enumerate(done.outcomes) if outcome != "online"] == [2, 3, 5]


@pytest.mark.parametrize("method", ["psci", "spin-table"])
def test_cpus_that_a_panic_has_left_where_they_wait_are_no_finding(method: str) -> None:
    """Linux v6.12 arch/arm64/kernel/smp.c, __cpu_up(): CPU_PANIC_KERNEL, before the next CPU is kicked."""
    done = run(f"v3 topology=flat:3 enable-method={method} bringup=serial fault=1:panic")
    assert done.messages == []

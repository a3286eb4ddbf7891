"""Bugs planted on purpose: each must be found, and the finding must name what is wrong."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from booting import finish, run
from planting import plant

from emu.case import Case
from emu.host.build import build
from emu.host.enable_method.spin_table import SpinTable
from emu.host.guest import Guest
from emu.operation import SendEvent


@pytest.fixture
def planted(tmp_path: Path):
    """Return a function that writes a design as one .S file with some text of one fragment replaced."""

    return partial(plant, tmp_path)


def test_planting_nothing_finds_nothing(planted) -> None:
    assert (
        run(planted("v3", "boot/secondary_startup", "secondary_startup:", "secondary_startup:")).messages
        == []
    )


def test_wrong_slot_shift_gives_cpus_each_others_data(planted) -> None:
    case = planted("v3", "slot/slot_per_cpu", "lsl #SECONDARY_DATA_SHIFT", "lsl #(SECONDARY_DATA_SHIFT - 1)")
    done = run(case)
    assert "CPU2 has the task" in " ".join(done.messages)
    assert any(outcome != "online" for outcome in done.outcomes)


def test_pen_that_masks_aff3_away_releases_nobody_or_the_wrong_cpu(planted, tmp_path: Path) -> None:
    topology = tmp_path / "sockets.json"
    topology.write_text('{"cpus": [{"hwid": 0}, {"hwid": "0x100000000"}, {"hwid": "0x1"}]}')
    right = run(f"v3 enable-method=spin-table topology={topology}")
    assert right.messages == []
    case = planted(
        "v3", "boot/secondary_holding_pen", "mov_q   x1, MPIDR_HWID_BITMASK", "mov_q   x1, 0xffffff"
    )
    done = run(f"{case} enable-method=spin-table topology={topology}")
    assert done.messages[0].startswith("CPU1 never came to secondary_start_kernel: asleep")
    assert done.outcomes[2] == "online"


def test_missing_sev_leaves_the_pen_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """KERNEL defect 14: the word is written and cleaned, but nobody wakes the CPUs that sleep on it."""

    def without_sev(self: SpinTable, cpu: int):
        for operation in original(self, cpu):
            if not isinstance(operation, SendEvent):
                yield operation
        return 0

    original = SpinTable.cpu_boot
    monkeypatch.setattr(SpinTable, "cpu_boot", without_sev)
    done = run("v3 enable-method=spin-table")
    # CPU1 is named before it gets to the pen, so its first look finds the word; the others sleep by then.
    assert [finding.cpus for finding in done.verdict.findings] == [(2,), (3,), (4,), (5,), (6,), (7,)]
    assert all("never came to secondary_start_kernel: asleep" in message for message in done.messages)


def test_two_cpus_given_one_task_are_named_together() -> None:
    boot = build(Case.parse("v3 topology=flat:4"))
    guest = boot.guest
    slot = guest.slot_pa(3)

    def overwrite() -> None:
        boot.machine.memory.write(slot, 8, guest.idle[2].task)

    done = finish(_with_hook(boot, overwrite))
    assert done.messages[0].startswith("CPU2, CPU3 took the task ")


def _with_hook(boot, action):
    # Let the boot CPU run until all are kicked, then change memory behind its back.
    machine = boot.machine
    machine.observe()
    while all(actor.state.value == "off" for actor in machine.actors[1:]):
        assert machine.step()
    action()
    return boot


def test_stack_pointer_of_another_cpu_is_found() -> None:
    boot = build(Case.parse("v2 topology=flat:3"))
    guest: Guest = boot.guest
    wrong = replace(guest.idle[1], stack_low=guest.idle[2].stack_low, stack_high=guest.idle[2].stack_high)
    boot.machine.memory.write(guest.pa_of(wrong.task) + 0x20, 8, wrong.stack_low)
    done = finish(boot)
    assert any(message.startswith("CPU1 has SP ") for message in done.messages)
    assert any("took the stack pointer" in message for message in done.messages)


@pytest.mark.parametrize(
    ("fragment", "old", "new", "says"),
    [
        ("boot/__secondary_switched", "msr     vbar_el1", "msr     contextidr_el1", "has VBAR_EL1"),
        ("boot/secondary_load_task", "msr     tpidr_el1", "msr     tpidr_el0", "per-CPU offset"),
        ("boot/__cpu_setup", "mov_q   x17, MAIR_EL1_SET", "mov_q   x17, 0xff", ""),
    ],
)
def test_register_left_wrong_on_arrival_is_named(planted, fragment, old, new, says) -> None:
    done = run(planted("v3", fragment, old, new))
    if says:
        assert all(says in message for message in done.messages), done.messages
        assert len(done.messages) == 7
    else:  # the boot CPU ran the same text: nothing differs from it
        assert done.messages == []


def test_rfc_secondary_with_hwid_0_matches_the_entry_nobody_filled(tmp_path: Path) -> None:
    """KERNEL defect 2: the table begins as zeros and entry 0 is never written."""
    topology = tmp_path / "kexec.json"
    topology.write_text('{"boot_cpu": 1, "cpus": [{"hwid": 0}, {"hwid": 1}, {"hwid": 2}]}')
    done = run(f"rfc topology={topology}")
    assert done.messages[0].startswith("CPU1 never came to secondary_start_kernel: asleep")
    for other in ("v2", "v3", "context-id", "mainline"):
        assert run(f"{other} topology={topology}").messages == []


@pytest.mark.parametrize(
    ("planted_line", "index", "cpus"),
    [
        ("add     x19, x19, #1", "8", (7,)),  # the first behind the eight
        ("lsl     x19, x19, #4", "112", tuple(range(1, 8))),
        ("mvn     x19, x19", "0xfffffffffffffff8", tuple(range(1, 8))),
        ("nop", "", ()),
    ],
)
def test_slot_behind_the_table_is_told_with_index_and_range(
    planted, planted_line: str, index: str, cpus: tuple[int, ...]
) -> None:
    """The number of the slot, the table's, and the use of the index, whatever the CPU finds there."""
    label = "__secondary_switched:\n"
    case = planted("v3", "boot/__secondary_switched", label, f"{label}        {planted_line}\n")
    done = run(case)
    told = [finding for finding in done.verdict.findings if finding.what == "no-slot"]
    assert [finding.cpus for finding in told] == [(cpu,) for cpu in cpus]
    place = done.boot.guest.subject.va("slot_per_cpu") + 4
    for finding in told:
        assert (dict(finding.data)["last"], dict(finding.data)["pc"]) == (7, place)
    assert not index or any(f" takes slot {index} at PC" in message for message in done.messages)

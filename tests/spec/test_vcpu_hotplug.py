"""vCPU hotplug: masks and numbers after every action, what firmware's policy does, what the kernel refuses,
and a table that changes under CPUs that scan it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from booting import Run, finish, run

from emu.case import Case
from emu.designs import DESIGNS
from emu.errors import InvalidCase
from emu.host import lookup_table
from emu.host.build import build
from emu.host.cpuhp import Cpuhp
from emu.host.guest import Guest
from emu.host.vcpu import hotplug
from emu.operation import Kind, Mask, Operation, Store
from emu.report.words import finding_words
from emu.rules.masks import judge
from emu.trace import Trace

CPUS, AT_BOOT = 8, 4
STEPS_MAX = 5_000_000
ALL = Mask.POSSIBLE | Mask.PRESENT | Mask.ENABLED | Mask.ONLINE


class Model:
    """What must hold after each action, kept by the shortest means: sets of CPUs."""

    def __init__(self, *, kicks: bool) -> None:
        self.enabled = set(range(AT_BOOT))
        self.online = set(range(AT_BOOT))
        self.kicked: set[int] = set()
        self.kicks = kicks

    def choose(self, chance: random.Random) -> tuple[int, str]:
        """Return an action, sensible or not, but none that leaves a kicked CPU without its entry."""
        cpu = chance.randrange(1, CPUS)
        if cpu in self.kicked:
            return cpu, "online"
        actions = ["add", "remove", "online", "offline", "notify", "allow"]
        if self.kicks and cpu not in self.online:
            actions.append("kick")
        return cpu, chance.choice([a for a in actions if a != "allow" or cpu in self.enabled])

    def apply(self, cpu: int, action: str) -> None:
        """Do it."""
        if action == "add":
            self.enabled.add(cpu)
        elif action == "remove":
            self.enabled.discard(cpu)
            self.online.discard(cpu)
        elif action == "offline":
            self.online.discard(cpu)
        elif action == "online" and cpu in self.enabled:
            self.online.add(cpu)
            self.kicked.discard(cpu)
        elif action == "kick" and cpu in self.enabled:
            self.kicked.add(cpu)


def sequence(seed: int, length: int, *, kicks: bool) -> tuple[list[tuple[int, str]], Model]:
    """Return that many actions, and what the last one leaves."""
    chance, model, actions = random.Random(seed), Model(kicks=kicks), []
    while len(actions) < length or model.kicked:
        if len(actions) >= length:
            cpu, action = min(model.kicked), "online"
        else:
            cpu, action = model.choose(chance)
        actions.append((cpu, action))
        model.apply(cpu, action)
    return actions, model


def text_of(actions: list[tuple[int, str]]) -> str:
    return ",".join(f"{cpu}:{action}" for cpu, action in actions)


def masks(done: Run) -> dict[int, Mask]:
    """The masks of each CPU at the end."""
    found = {}
    for record in done.boot.machine.trace:
        if record.kind is Kind.MASKS:
            found[record.actor] = Mask(record.size)
    return found


def sets_of(done: Run) -> tuple[set[int], set[int]]:
    """CPUs that are enabled and online."""
    found = masks(done)
    return (
        {cpu for cpu, mask in found.items() if Mask.ENABLED in mask},
        {cpu for cpu, mask in found.items() if Mask.ONLINE in mask},
    )


@pytest.mark.parametrize("seed", range(2))
def test_a_hundred_sequences_leave_the_masks_and_the_cpus_as_they_must_be(seed: int) -> None:
    """The rule of masks holds the subsets and the numbers after every action; the model says which CPUs."""
    for number in range(100):
        actions, model = sequence(100 * seed + number, 5 + number // 4, kicks=True)
        grain = ("free", "operation")[number % 2]
        text = (
            f"v3 topology=vcpus:{CPUS} hotplug={text_of(actions)} instructions-max={STEPS_MAX} "
            f"scheduler=random:{number} grain={grain}"
        )
        done = run(text)
        assert done.messages == [], text
        assert done.boot.machine.stopped == "", text
        assert sets_of(done) == (model.enabled, model.online), text
        wanted = ["online" if cpu in model.online else "off" for cpu in range(CPUS)]
        assert done.outcomes == wanted, text


@pytest.mark.parametrize(
    ("design", "bringup"),
    [("mainline", "serial"), ("mainline", "split"), ("v2", "parallel"), ("context-id", "parallel")],
)
@pytest.mark.parametrize("base", ["6.12", "v3"])
@pytest.mark.parametrize("seed", range(3))
def test_the_same_with_other_designs_and_bases(design: str, bringup: str, base: str, seed: int) -> None:
    actions, model = sequence(seed, 50, kicks=bringup == "parallel")
    done = run(
        f"{design} topology=vcpus:{CPUS} bringup={bringup} base={base} hotplug={text_of(actions)} "
        f"instructions-max={STEPS_MAX}"
    )
    assert done.messages == []
    assert sets_of(done) == (model.enabled, model.online)


def test_two_kicks_through_sysfs_break_a_design_with_one_secondary_data() -> None:
    """Nothing stops a user who writes cpu:kick_ap of two CPUs, whatever the boot did one after the other."""
    done = run("mainline topology=vcpus:4 bringup=split hotplug=2-3:add,2-3:kick,2-3:online")
    assert any("took the task" in message for message in done.messages)
    assert run("mainline topology=vcpus:4 bringup=split hotplug=2:add,2:kick,2:online").messages == []


@pytest.mark.parametrize("base", ["6.12", "v3"])
def test_present_follows_enabled_or_is_there_from_the_start(base: str) -> None:
    """Linux v6.12 smp_prepare_cpus() takes every possible CPU for present; KERNEL section 1 does not."""
    done = run(f"v3 topology=vcpus:4 base={base} hotplug=2:add")
    found = masks(done)
    assert Mask.PRESENT in found[2]
    assert (Mask.PRESENT in found[3]) == (base == "6.12")
    assert Mask.ENABLED not in found[3]


def test_a_devicetree_has_all_cpus_enabled() -> None:
    done = run("v3 topology=flat:4 hotplug=1-3:offline,3:online,2:kick,2:online")
    assert done.messages == []
    assert {cpu: mask & ALL for cpu, mask in masks(done).items()} == {
        0: ALL,
        1: ALL & ~Mask.ONLINE,
        2: ALL,
        3: ALL,
    }


def test_rfc_cannot_bring_a_cpu_up_after_init() -> None:
    """KERNEL defect 4: its data is read-only by then, so a hot-added CPU never comes."""
    done = run("rfc topology=vcpus:4 hotplug=2:add,2:online,1:offline,1:online")
    assert "emu: 2:online failed: -14 (EFAULT)" in done.lines
    assert [message.split(":")[0] for message in done.messages] == [
        "CPU1 did not come again to secondary_start_kernel",
        "CPU2 never came to secondary_start_kernel",
        "CPU0 stores to 0xffff8000800020a0, which is read-only after init",
        "CPU0 stores to 0xffff800080002090, which is read-only after init",
    ]


def test_denied_then_success() -> None:
    """DENIED is -EPERM: the writer of sysfs gets it, and the kernel's log has nothing."""
    done = run("v3 topology=vcpus:4 hotplug=2:add,2:deny,2:online,2:allow,2:online")
    told = [line for line in done.lines if "CPU2" in line or "2:" in line]
    assert told == [
        "ACPI: CPU2 has been hot-added",
        "emu: 2:online failed: -1 (EPERM)",
        "CPU2: Booted secondary processor 0x0000000002 [0x410fd083]",
    ]
    assert done.messages == []


def test_denied_by_a_fault_then_success() -> None:
    done = run("v3 topology=vcpus:4 fault=2:denied:2 hotplug=2:add,2:online,2:online,2:online")
    assert done.lines.count("emu: 2:online failed: -1 (EPERM)") == 2
    assert done.outcomes[2] == "online"
    assert done.messages == []
    assert run("v3 topology=vcpus:4 fault=2:denied:1 hotplug=2:add,2:online").messages == []


def test_what_is_not_registered_has_no_files_to_write() -> None:
    done = run("v3 topology=vcpus:4 hotplug=2:online,2:offline,2:kick,1:remove,1:online,2:allow,2:online")
    refused = [line for line in done.lines if line.startswith("emu:")]
    assert refused == [
        f"emu: {what} failed: -2 (ENOENT)"
        for what in ("2:online", "2:offline", "2:kick", "1:online", "2:online")
    ]
    assert done.messages == []


def test_what_is_so_already_is_no_error() -> None:
    """device_online() and device_offline() give 1 then; a CPU that is enumerated is not added again."""
    done = run("v3 topology=vcpus:4 hotplug=1:online,1:offline,1:offline,1:add,3:remove,1:remove,1:remove")
    assert not any(line.startswith("emu:") for line in done.lines)
    assert done.lines.count("psci: CPU1 killed (polled 0 ms)") == 1
    assert done.messages == []


def test_a_notification_changes_nothing_while_sta_is_not_enabled() -> None:
    """acpi_processor_add() gives -ENODEV, and acpi_bus_scan() is silent about it."""
    done = run("v3 topology=vcpus:4 hotplug=2:notify,1:notify")
    assert [line for line in done.lines if "notify" in line] == ["emu: 2:notify failed: -19 (ENODEV)"]
    assert masks(done)[2] == Mask.POSSIBLE | Mask.STA_PRESENT | Mask.MAPPED | Mask.CLEAN


def test_arch_register_cpu_refuses_a_cpu_that_is_not_present() -> None:
    """Linux v6.12: cpu_die_early() has cleared the present bit, and hotplug may not set it. Said once."""
    done = run(
        "v3 base=6.12 bringup=split topology=vcpus:4 fault=1:die-early hotplug=1:notify,1:add,1:online"
    )
    assert done.lines.count("Changing CPU present bit is not supported") == 1
    refused = [line for line in done.lines if line.startswith("emu:")]
    assert refused == [
        "emu: 1:notify failed: -19 (ENODEV)",
        "emu: 1:add failed: -19 (ENODEV)",
        "emu: 1:online failed: -2 (ENOENT)",
    ]
    assert Mask.ENABLED not in masks(done)[1]


@pytest.mark.parametrize("base", ["6.12", "v3"])
def test_a_present_bit_that_vanishes_is_complained_of_once(base: str) -> None:
    done = run(f"v3 base={base} topology=vcpus:6 hotplug=1:vanish,2:vanish,1:online,1:add,1:online")
    assert done.lines.count("Changing CPU present bit is not supported") == 1
    assert done.outcomes[1:3] == ["online", "off"]
    assert done.messages == []


def test_kick_takes_an_online_cpu_down_to_kick_ap() -> None:
    """target_store(): a state above the target is cpu_down()'s; the AP is off, and "online" does nothing."""
    done = run("v3 topology=vcpus:4 hotplug=1:kick,1:online")
    assert done.boot.core.state[1] == Cpuhp.CPUHP_BP_KICK_AP
    assert done.outcomes[1] == "off"
    assert done.messages == []


def test_a_kicked_cpu_waits_to_be_brought_online() -> None:
    done = run("v3 topology=vcpus:4 hotplug=2:add,2:kick,2:kick")
    assert done.outcomes[2] == "in ap_sync_alive"
    assert done.messages == []


def test_firmwares_policy_outlives_a_kexec() -> None:
    """The kernel's cpu-hotplug.rst: what the MADT says is read again, _STA is found again."""
    done = run("v3 topology=vcpus:6 hotplug=4:add,4:online,1:remove kexec=v3@4")
    assert done.messages == []
    assert done.lines[-2:] == ["smp: Brought up 1 node, 3 CPUs", "CPU: All CPU(s) started at EL1"]
    online = {hwid for hwid, end in zip(done.boot.guest.hwids, done.outcomes, strict=True) if end == "online"}
    assert online == {0, 2, 4}


def test_a_cpu_that_cannot_be_taken_down_stays() -> None:
    """acpi_scan_try_to_offline(): -EBUSY, and nothing is ejected."""
    boot = build(Case.parse("v3 topology=vcpus:4 hotplug=1:remove"))

    def refuse(cpu: int) -> Generator[Operation, Any, int]:
        yield from ()
        return -16

    boot.core.steps[Cpuhp.CPUHP_AP_WORKQUEUE_ONLINE].teardown = refuse
    done = finish(boot)
    assert done.lines[-2:] == ["cpu cpu1: Offline failed.", "emu: 1:remove failed: -16 (EBUSY)"]
    assert done.outcomes[1] == "online"
    assert done.messages == []


def test_a_hot_added_cpu_that_does_not_come_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(guest: Guest, cpu: int, value: int) -> Generator[Operation, Any, None]:
        yield Store(lookup_table.entry_pa(guest, cpu), guest.design.lookup_table_unused)

    monkeypatch.setattr(hotplug, "write_entry", lost)
    done = run("v3 topology=vcpus:4 hotplug=2:add,2:online")
    assert "emu: 2:online failed: -5 (EIO)" in done.lines
    assert any(message.startswith("CPU2 never came to secondary_start_kernel") for message in done.messages)


# -- a table that changes under who scans it ----------------------------------------------------------


def scanning(done: Run, cpu: int) -> bool:
    """Whether a table entry was stored between the start of ``cpu`` and its landing or the end."""
    on = False
    for record in done.boot.machine.trace:
        if record.actor == cpu and record.kind in (Kind.POWER_ON, Kind.LAND):
            on = record.kind is Kind.POWER_ON
        elif on and record.kind is Kind.MASKS and record.actor != cpu:
            return True
    return False


@pytest.mark.parametrize("design", ["v2", "v3"])
def test_mapping_others_does_not_disturb_who_scans(design: str) -> None:
    overlaps = 0
    for seed in range(30):
        done = run(
            f"{design} topology=vcpus:8 bringup=parallel scheduler=random:{seed} grain=operation "
            "hotplug=4-7:add,1-3:offline,4:kick,7:kick,1-2:remove,5-6:remove,1:add,5:add,4:online,7:online"
        )
        assert done.messages == [], seed
        assert [done.outcomes[cpu] for cpu in (4, 7)] == ["online"] * 2
        overlaps += scanning(done, 7)
    assert overlaps > 20


def removed_while_it_scans(seed: int) -> Run:
    return run(
        f"v3 topology=vcpus:8 scheduler=random:{seed} grain=operation "
        "hotplug=5-6:add,5:kick,6:notify,4:notify,5:remove"
    )


def test_a_cpu_removed_while_it_scans_finds_itself_or_nobody() -> None:
    ends = set()
    for seed in range(60):
        done = removed_while_it_scans(seed)
        assert done.messages == [], seed
        assert sets_of(done) == ({0, 1, 2, 3, 6}, {0, 1, 2, 3}), seed
        ends.add(done.outcomes[5])
        assert done.boot.machine.actors[5].landings == (done.outcomes[5] == "in ap_sync_alive")
    assert ends == {"in ap_sync_alive", "asleep in WFE"}


def test_a_cpu_that_missed_its_entry_is_reported_when_it_is_brought_up() -> None:
    """The number is back, the CPU is not: it is in __secondary_too_slow, and CPU_ON is not called again."""
    for seed in range(60):
        done = run(
            f"v3 topology=vcpus:8 scheduler=random:{seed} grain=operation "
            "hotplug=5:add,5:kick,5:remove,5:add,5:online"
        )
        assert done.messages == [], seed
        if done.outcomes[5] == "asleep in WFE":
            assert "CPU5 failed to report alive state" in done.lines
            assert "emu: 5:online failed: -5 (EIO)" in done.lines
            return
        assert done.outcomes[5] == "online"
    raise AssertionError("no schedule in which CPU5 misses its entry")


# -- planted bugs -------------------------------------------------------------------------------------

Writer = Callable[[Guest, int, int], Generator[Operation, Any, None]]


def not_cleaned(guest: Guest, cpu: int, value: int) -> Generator[Operation, Any, None]:
    yield Store(lookup_table.entry_pa(guest, cpu), value)


def unmaps_the_next_cpu(guest: Guest, cpu: int, value: int) -> Generator[Operation, Any, None]:
    other = cpu if value == guest.hwids[cpu] else cpu % (len(guest.hwids) - 1) + 1
    yield from lookup_table.write_entry(guest, other, value)


def to_another_hwid(guest: Guest, cpu: int, value: int) -> Generator[Operation, Any, None]:
    other = guest.hwids[cpu + 1] if value == guest.hwids[cpu] else value
    yield from lookup_table.write_entry(guest, cpu, other)


def never_forgets(guest: Guest, cpu: int, value: int) -> Generator[Operation, Any, None]:
    yield from lookup_table.write_entry(guest, cpu, guest.hwids[cpu])


@pytest.mark.parametrize(
    ("bug", "says"),
    [
        (not_cleaned, "CPU2: its table entry was stored and not cleaned to the PoC"),
        (unmaps_the_next_cpu, "CPU3: its table entry holds 0xffffffffffffffff, not its hwid 0x3"),
        (to_another_hwid, "CPU2: its table entry holds 0x3, not its hwid 0x2"),
        (never_forgets, "CPU2 is unmapped, but its table entry holds 0x2, the hwid of CPU2"),
    ],
)
def test_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, bug: Writer, says: str) -> None:
    monkeypatch.setattr(hotplug, "write_entry", bug)
    text = "v3 topology=vcpus:8 hotplug=2:remove,2:add,2:remove"
    done = run(text, record=True)
    assert any(message.startswith(says) for message in done.messages), done.messages
    monkeypatch.undo()
    assert run(text, record=True).messages == []


def test_a_number_handed_to_another_hwid_shows_on_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU3's own scan finds entry 2 first, takes CPU2's slot, and CPU2's task is gone."""
    monkeypatch.setattr(hotplug, "write_entry", to_another_hwid)
    done = run("v3 topology=vcpus:8 hotplug=2:remove,2:add,3:offline,3:online")
    assert any(message.startswith("CPU3 ") for message in done.messages)
    assert done.verdict.name == "fail"


def test_an_entry_that_goes_from_under_a_scan_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU4's removal clears the entry of CPU5, which scans: some schedules lose CPU5, all break the table."""
    monkeypatch.setattr(hotplug, "write_entry", unmaps_the_next_cpu)
    lost = 0
    for seed in range(20):
        done = run(
            f"v3 topology=vcpus:8 scheduler=random:{seed} grain=operation hotplug=5:add,4:add,5:kick,4:remove"
        )
        assert any(message.startswith("CPU5: its table entry holds 0xff") for message in done.messages)
        lost += any(message.startswith("CPU5 never came") for message in done.messages)
    assert 0 < lost < 20


def masks_trace(*rows: tuple[int, Mask, int, int]) -> Trace:
    trace = Trace("v3")
    for cpu in range(4):
        trace.add(Kind.EXPECT, cpu, 11, 0, 0, 0x100 + cpu)
    for cpu, mask, hwid, entry in rows:
        trace.add(Kind.MASKS, cpu, mask, 0x4000_0000 + 8 * cpu, hwid, entry)
    return trace


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (ALL & ~Mask.ENABLED, "CPU1 is online, but not enabled"),
        (ALL & ~Mask.ONLINE & ~Mask.PRESENT, "CPU1 is enabled, but not present"),
        (Mask.PRESENT, "CPU1 is present, but not possible"),
        (ALL & ~Mask.ONLINE, "CPU1 is enabled, but its _STA does not say so"),
    ],
)
def test_masks_that_are_no_subsets_are_found(mask: Mask, says: str) -> None:
    sta = Mask(0) if "_STA" in says else Mask.STA_ENABLED
    trace = masks_trace((1, mask | Mask.MAPPED | sta, 0x101, 0x101))
    assert [finding_words(finding) for finding in judge(trace)] == [says]


def test_a_number_that_changes_its_hwid_is_found() -> None:
    trace = masks_trace((1, Mask.POSSIBLE | Mask.MAPPED, 0x102, 0x102))
    assert [finding_words(finding) for finding in judge(trace)] == ["CPU1 was 0x101 and has become 0x102"]


# -- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("hotplug=2", "hotplug=2: CPU:ACTION or FIRST-LAST:ACTION"),
        ("hotplug=2:explode", "explode is not one of add, remove"),
        ("hotplug=3-2:add", "the first CPU of a range is not above the last"),
        ("hotplug=0:offline", "CPU0 carries the actions out"),
        ("hotplug=0-3:online", "CPU0 carries the actions out"),
        ("hotplug=8:add", "CPU8 is not possible; CPU1..CPU7 are"),
        ("hotplug=5-99999999999:add", "CPU8 is not possible"),
        ("hotplug=77777:online", "CPU77777 is not possible"),
        ("hotplug=5:add append=nr_cpus=4", "CPU5 is not possible; CPU1..CPU3 are"),
        ("hotplug=1:online append=nr_cpus=1", "CPU1 is not possible; no secondaries are"),
        ("hotplug=2:kick bringup=serial", "bringup=serial has no state cpu:kick_ap"),
        ("hotplug=2:add firmware=devicetree", "add needs firmware=acpi"),
        ("hotplug=2:vanish firmware=devicetree", "vanish needs firmware=acpi"),
        ("hotplug=2:online enable-method=parking-protocol", "cannot take a CPU down; psci can"),
        ("hotplug=2:online enable-method=spin-table", "cannot take a CPU down; psci can"),
    ],
)
def test_bad_hotplug_says_what_is_wrong(case: str, says: str) -> None:
    with pytest.raises(InvalidCase) as refused:
        run(f"v3 topology=vcpus:8 {case}")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_design_has_hotplug() -> None:
    for design in DESIGNS:
        done = run(f"{design} topology=vcpus:4 hotplug=3:add,2:add,1:remove")
        assert done.messages == [], design


@pytest.mark.parametrize("firmware", ["devicetree", "acpi"])
def test_a_real_kernel_takes_cpus_down_and_up(real_kernel: Callable[[str], Path], firmware: str) -> None:
    image = real_kernel("EMU_KERNEL_612")
    plug = "6:add,6:online,5:notify,1:remove,1:add,1:online," if firmware == "acpi" else ""
    done = run(f"{image} topology=vcpus:8 firmware={firmware} hotplug={plug}2:offline,2:online,3:offline")
    assert done.messages == []
    assert done.outcomes[:4] == ["online"] * 3 + ["off"]
    if firmware == "acpi":
        assert done.outcomes[4:] == ["off", "off", "online", "off"]
        assert "ACPI: CPU6 has been hot-added" in done.lines

"""PSCI, spin-table and the parking protocol, call by call and word by word."""

from __future__ import annotations

import pytest
from booting import finish, run

from emu.arch.mpidr import INVALID_HWID
from emu.arch.psci import Affinity, Function, Return
from emu.case import Case
from emu.errors import InvalidCase
from emu.host.build import build
from emu.host.enable_method.parking_protocol import ParkingProtocol
from emu.machine.firmware import Suspend
from emu.operation import Delay, Kind, Load, Park, SendInterrupt, WaitForInterrupt
from emu.outcome import ended

ENTRY = 0x4020_0000


def call(machine, function: Function, x1: int = 0, x2: int = 0, x3: int = 0) -> int | None:
    return machine.power.ask(0, function, x1, x2, x3)


@pytest.fixture
def machine():
    return build(Case.parse("v3 topology=flat:4")).machine


def test_version_is_1_1(machine) -> None:
    """DEN0022 5.3 PSCI_VERSION: major in bits 30:16."""
    assert call(machine, Function.PSCI_VERSION) == 0x1_0001


def test_features_knows_what_it_implements_and_nothing_else(machine) -> None:
    """DEN0022 5.17 PSCI_FEATURES."""
    assert call(machine, Function.PSCI_FEATURES, Function.CPU_ON64) == 0
    assert call(machine, Function.PSCI_FEATURES, Function.CPU_SUSPEND64) == Return.PSCI_RET_NOT_SUPPORTED
    assert call(machine, Function.PSCI_FEATURES, 0x8400_00FF) == Return.PSCI_RET_NOT_SUPPORTED


@pytest.mark.parametrize("function", [Function.CPU_SUSPEND32, Function.CPU_SUSPEND64])
def test_cpu_suspend_is_there_where_interrupts_wake(machine, function: Function) -> None:
    """DEN0022 5.4 CPU_SUSPEND, in the original format: bits 31:17 are 0 where no level is above the CPU."""
    firmware = machine.power.firmware
    assert call(machine, function) == Return.PSCI_RET_NOT_SUPPORTED
    firmware.suspends = True
    assert call(machine, Function.PSCI_FEATURES, function) == 0
    assert call(machine, function, 1 << 17) == Return.PSCI_RET_INVALID_PARAMS
    answer = firmware.call(machine.power.platform(), 0, function, 1 << 32 | 1 << 16, 0, 0)
    assert answer == (Return.PSCI_RET_SUCCESS, (Suspend(0),))


def test_affinity_info_of_smc32_takes_words(machine) -> None:
    """SMCCC 2.5: of an SMC32 call W1 to W7 are the parameters; the level is a word of either call."""
    high = 1 << 32
    assert call(machine, Function.AFFINITY_INFO32, high | 1, high) == Affinity.OFF
    assert call(machine, Function.AFFINITY_INFO64, 1, high) == Affinity.OFF
    assert call(machine, Function.AFFINITY_INFO64, high | 1) == Return.PSCI_RET_INVALID_PARAMS


def test_migrate_info_type_says_no_migration_needed(machine) -> None:
    """DEN0022 5.9: 2, a trusted OS is not present."""
    assert call(machine, Function.MIGRATE_INFO_TYPE) == 2


def test_cpu_on_twice_returns_already_on(machine) -> None:
    """DEN0022 5.6 CPU_ON."""
    assert call(machine, Function.CPU_ON64, 1, ENTRY) == Return.PSCI_RET_SUCCESS
    assert call(machine, Function.CPU_ON64, 1, ENTRY) == Return.PSCI_RET_ALREADY_ON


def test_cpu_on_of_the_caller_returns_already_on(machine) -> None:
    assert call(machine, Function.CPU_ON64, 0, ENTRY) == Return.PSCI_RET_ALREADY_ON


def test_cpu_on_of_an_unknown_hwid_returns_invalid_parameters(machine) -> None:
    assert call(machine, Function.CPU_ON64, 0x99, ENTRY) == Return.PSCI_RET_INVALID_PARAMS


def test_cpu_on_outside_dram_returns_invalid_address(machine) -> None:
    assert call(machine, Function.CPU_ON64, 1, 0x1000) == Return.PSCI_RET_INVALID_ADDRESS
    assert call(machine, Function.CPU_ON64, 1, ENTRY + 2) == Return.PSCI_RET_INVALID_ADDRESS


def test_cpu_on_gives_the_context_id_in_x0_with_the_mmu_off(machine) -> None:
    """DEN0022 6.4: x0 = context ID, caller's exception level, MMU and caches off, interrupts masked."""
    call(machine, Function.CPU_ON64, 2, ENTRY, 0xC0FFEE)
    pe = machine.actors[2].pe
    assert (pe.x[0], pe.pc, pe.el, pe.mmu_on) == (0xC0FFEE, ENTRY, 1, False)


def test_affinity_info_follows_on_and_off(machine) -> None:
    """DEN0022 5.7 AFFINITY_INFO."""
    assert call(machine, Function.AFFINITY_INFO64, 1) == Affinity.OFF
    call(machine, Function.CPU_ON64, 1, ENTRY)
    assert call(machine, Function.AFFINITY_INFO64, 1) == Affinity.ON
    machine.power.ask(1, Function.CPU_OFF, 0, 0, 0)
    assert call(machine, Function.AFFINITY_INFO64, 1) == Affinity.OFF
    assert call(machine, Function.AFFINITY_INFO64, 0x99) == Return.PSCI_RET_INVALID_PARAMS


def test_cpu_on_after_cpu_off_starts_it_again(machine) -> None:
    call(machine, Function.CPU_ON64, 1, ENTRY)
    assert machine.power.ask(1, Function.CPU_OFF, 0, 0, 0) is None
    assert call(machine, Function.CPU_ON64, 1, ENTRY, 7) == Return.PSCI_RET_SUCCESS
    assert machine.actors[1].pe.x[0] == 7


@pytest.mark.parametrize("function", [Function.SYSTEM_OFF, Function.SYSTEM_RESET])
def test_system_off_and_reset_end_the_run(machine, function: Function) -> None:
    call(machine, function)
    assert machine.stopped == function.name
    assert not machine.step()


def test_unknown_function_returns_not_supported(machine) -> None:
    assert call(machine, 0x8400_0042) == Return.PSCI_RET_NOT_SUPPORTED


def test_each_secondary_is_kicked_once_with_its_own_hwid() -> None:
    done = run("v3 topology=flat:20")
    calls = [r for r in done.boot.machine.trace if r.kind is Kind.CALL and r.actor == 0]
    assert [r.pa for r in calls] == list(done.boot.guest.hwids[1:])
    assert {r.value for r in calls} == {Function.CPU_ON64}


def test_context_id_design_hands_each_cpu_a_pointer_to_its_own_data() -> None:
    done = run("context-id topology=flat:4")
    starts = [r.value for r in done.boot.machine.trace if r.kind is Kind.POWER_ON]
    assert starts == [done.boot.guest.slot_va(cpu) for cpu in (1, 2, 3)]


def test_release_word_is_cleaned_after_every_write_and_goes_back_to_invalid() -> None:
    """The pen reads with its MMU off: each write of the word needs a clean to the PoC before the SEV."""
    done = run("v3 enable-method=spin-table topology=flat:4", record=True)
    word = done.boot.guest.subject.pa("secondary_holding_pen_release")
    host = [r for r in done.boot.machine.trace if r.actor == 0 and r.kind < Kind.POWER_ON]
    writes = [i for i, r in enumerate(host) if r.kind is Kind.STORE and r.pa == word]
    assert [host[i].value for i in writes] == [1, INVALID_HWID, 2, INVALID_HWID, 3, INVALID_HWID]
    for i in writes:
        assert (host[i + 1].kind, host[i + 1].pa) == (Kind.CACHE, word)
        assert host[i + 2].kind is Kind.BARRIER
        if host[i].value != INVALID_HWID:
            assert host[i + 3].kind is Kind.SEV
    assert done.boot.machine.memory.read(word, 8) == INVALID_HWID


def test_pen_holds_every_cpu_until_its_hwid_is_written() -> None:
    boot = build(Case.parse("v3 enable-method=spin-table topology=flat:4"))
    done = finish(boot)
    landed = [r.actor for r in boot.machine.trace if r.kind is Kind.LAND]
    assert landed == [1, 2, 3]
    assert done.messages == []


PARKED = "v3 topology=flat:4 enable-method=parking-protocol"


def test_parked_cpus_are_called_one_by_one_through_their_mailboxes() -> None:
    done = run(PARKED, record=True)
    assert done.outcomes == ["online"] * 4
    assert done.messages == []
    sent = [r.value for r in done.boot.machine.trace if r.kind == Kind.SEND_INTERRUPT]
    assert sent == [1, 2, 3]
    guest, memory = done.boot.guest, done.boot.machine.memory
    for cpu in (1, 2, 3):
        mailbox_pa = guest.data.mailbox(cpu)
        assert memory.read(mailbox_pa, 4) == cpu
        assert memory.read(mailbox_pa + 8, 8) == 0, "firmware clears the entry point when it takes it"


def test_a_cpu_that_nobody_calls_sleeps_at_its_mailbox() -> None:
    done = run(f"{PARKED} append=maxcpus=2")
    assert done.outcomes == ["online", "online", "asleep in WFI", "asleep in WFI"]
    assert done.messages == []


def test_a_mailbox_that_firmware_has_not_set_up_is_enxio() -> None:
    """acpi_parking_protocol_cpu_boot() looks for ~0 in cpu_id."""
    boot = build(Case.parse(PARKED))
    boot.machine.memory.write(boot.guest.data.mailbox(2), 4, 0)
    done = finish(boot)
    assert "CPU2: failed to boot: -6" in done.lines
    assert done.outcomes == ["online", "online", "asleep in WFI", "online"]


def test_firmware_that_leaves_the_entry_point_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(self, cpu: int):
        yield WaitForInterrupt()
        entry_pa = yield Load(self._guest.data.mailbox(cpu) + 8)
        return int(entry_pa), 0

    monkeypatch.setattr(ParkingProtocol, "firmware_task", careless)
    lines = run(PARKED).lines
    assert "WARNING: CPU: 1 PID: 0 at acpi_parking_protocol_cpu_postboot" in lines


def test_parking_protocol_loses_cpus_whose_interface_number_has_more_than_8_bits() -> None:
    """struct cpu_mailbox_entry keeps it in a u8: CPU 256 is called as 0, and does not answer."""
    done = run("mainline topology=flat:258 enable-method=parking-protocol")
    assert [cpu for cpu, outcome in enumerate(done.outcomes) if outcome != "online"] == [256, 257]
    assert "CPU256: failed to come online" in done.lines


def test_parking_protocol_is_not_for_parallel_bring_up() -> None:
    with pytest.raises(InvalidCase, match="parking-protocol is not PSCI"):
        run(f"{PARKED} bringup=parallel")
    assert run(f"{PARKED} bringup=parallel force=1").outcomes == ["online"] * 4


def test_an_interrupt_before_the_wait_is_not_lost() -> None:
    """An SGI stays pending until the CPU takes it."""
    machine = build(Case.parse("v3 topology=flat:2")).machine

    def receiver():
        yield Delay(1000)
        yield WaitForInterrupt()
        yield Park(ended("woken"))

    def sender():
        yield SendInterrupt(1)
        yield Park(ended("sent"))

    machine.start_task(1, receiver())
    machine.start_task(0, sender())
    machine.run()
    assert [actor.outcome for actor in machine.actors] == [ended("sent"), ended("woken")]

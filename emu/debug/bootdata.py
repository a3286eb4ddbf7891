"""The words that the boot path shares, by name, and what their values mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from emu.arch import boot as abi
from emu.arch.mpidr import INVALID_HWID
from emu.debug.debugged import Code
from emu.host.cpuhp import SyncState
from emu.host.guest import Guest

_STATUS_WORD = "__early_cpu_boot_status"
_STATUS = {
    abi.CPU_BOOT_SUCCESS: "success",
    abi.CPU_KILL_ME: "kill me",
    abi.CPU_STUCK_IN_KERNEL: "stuck in kernel",
    abi.CPU_PANIC_KERNEL: "panic",
}
_REASONS = {abi.CPU_STUCK_REASON_52_BIT_VA: "no 52-bit VA", abi.CPU_STUCK_REASON_NO_GRAN: "no granule"}


@dataclass(frozen=True, slots=True)
class BootWord:
    """One shared word.

    :ivar name: as :mod:`emu.debug.places` parses it
    :ivar size: bytes
    :ivar meaning: returns the meaning of a value
    :ivar minor: it can be named, but lists of shared words leave it out
    """

    name: str
    pa: int
    size: int
    meaning: Callable[[int], str]
    minor: bool = False


def status_meaning(value: int) -> str:
    """Return the meaning of a CPU boot status (u64; Linux arch/arm64/include/asm/smp.h)."""
    if value == 2**64 - 1:
        return "MMU off: see the early status"
    if value & ~0x3FF or value & abi.CPU_BOOT_STATUS_MASK not in _STATUS:
        return "unknown"
    reasons = [text for bit, text in _REASONS.items() if value & bit]
    return ", ".join([_STATUS[value & abi.CPU_BOOT_STATUS_MASK], *reasons])


def words(guest: Guest) -> list[BootWord]:
    """Return the shared words of a guest, those of the kernel first, then those of the host side."""
    return [
        *_table(guest),
        *_slots(guest),
        *_early_status(guest),
        *_single(guest, guest.hwids),
        *_host(guest),
    ]


def kernel_words(code: Code, hwids: Sequence[int]) -> list[BootWord]:
    """Return the words that a kernel's own boot path shares, where no host plays a part of it.

    :param hwids: by CPU
    """
    return [*_kernel_slots(code, len(hwids)), *_status_word(code), *_single(code, hwids)]


def _kernel_slots(code: Code, cpus: int) -> Iterator[BootWord]:
    # An array by CPU, which a kernel that brings them up in parallel has, or the one slot of all.
    array, single = map(code.subject.symbols.address, ("cpu_boot_data", "secondary_data"))
    slots = {} if single is None else {"secondary_data": single}
    if array is not None:
        slots = {f"cpu_boot_data[{cpu}]": array + abi.SECONDARY_DATA_SIZE * cpu for cpu in range(cpus)}
    for name, va in slots.items():
        pa = code.pa_of(va)
        yield BootWord(f"{name}.task", pa + abi.CPU_BOOT_TASK, 8, lambda value: "")
        yield BootWord(f"{name}.status", pa + abi.CPU_BOOT_STATUS, 8, status_meaning)


def _table(guest: Guest) -> Iterator[BootWord]:
    hwids = {hwid: f"CPU{cpu}" for cpu, hwid in enumerate(guest.hwids) if hwid != INVALID_HWID}

    def meaning(value: int) -> str:
        unused = value == guest.design.lookup_table_unused and (value or 0 not in hwids)
        return "nobody" if unused else hwids.get(value, "no CPU's hwid")

    name = guest.scanned_table
    va = guest.subject.symbols.address(name) if name else None
    for cpu in range(len(guest.hwids)) if va is not None else ():
        yield BootWord(f"{name}[{cpu}]", guest.pa_of(va or 0) + 8 * cpu, 8, meaning)


def _slots(guest: Guest) -> Iterator[BootWord]:
    tasks = {idle.task: f"CPU{cpu}'s idle task" for cpu, idle in enumerate(guest.idle)}

    def task(value: int) -> str:
        return tasks.get(value, "no idle task") if value else "none"

    name, count = guest.design.data_symbol, len(guest.hwids) if guest.design.data_per_cpu else 1
    if guest.subject.symbols.address(name) is None:
        return
    for cpu in range(count):
        slot = f"{name}[{cpu}]" if guest.design.data_per_cpu else name
        yield BootWord(f"{slot}.task", guest.slot_pa(cpu) + abi.CPU_BOOT_TASK, 8, task)
        yield BootWord(f"{slot}.status", guest.slot_pa(cpu) + abi.CPU_BOOT_STATUS, 8, status_meaning)


def _early_status(guest: Guest) -> Iterator[BootWord]:
    name = _STATUS_WORD
    va = guest.subject.symbols.address(name)
    if va is None:
        return
    pa = guest.pa_of(va)
    if guest.design.early_status == "per_cpu":
        for cpu in range(len(guest.hwids)):
            yield BootWord(f"{name}[{cpu}]", pa + 8 * cpu, 8, status_meaning)
    elif guest.design.early_status == "per_reason":
        for offset, reason in enumerate(_REASONS.values()):
            yield BootWord(f"{name}+{offset}", pa + offset, 1, _reason_meaning(reason))
    else:
        yield from _status_word(guest)


def _status_word(code: Code) -> Iterator[BootWord]:
    va = code.subject.symbols.address(_STATUS_WORD)
    if va is not None:
        yield BootWord(_STATUS_WORD, code.pa_of(va), 8, status_meaning)


def _reason_meaning(reason: str) -> Callable[[int], str]:
    return lambda value: f"{reason}: {_STATUS.get(value, 'unknown') if value else 'nobody'}"


def _single(guest: Code, numbered: Sequence[int]) -> Iterator[BootWord]:
    hwids = {hwid: f"CPU{cpu}" for cpu, hwid in enumerate(numbered)}

    def mode(value: int) -> str:
        return {abi.BOOT_CPU_MODE_EL1: "EL1", abi.BOOT_CPU_MODE_EL2: "EL2"}.get(value, "unknown")

    def release(value: int) -> str:
        return "nobody" if value == INVALID_HWID else hwids.get(value, "no CPU's hwid")

    for name, size, offsets, meaning in (
        ("secondary_holding_pen_release", 8, (0,), release),
        ("__boot_cpu_mode", 4, (0, 4), mode),
        ("vabits_actual", 8, (0,), lambda value: f"{value} bits"),
    ):
        va = guest.subject.symbols.address(name)
        for offset in offsets if va is not None else ():
            label = f"{name}+{offset}" if offset else name
            yield BootWord(label, guest.pa_of(va or 0) + offset, size, meaning)


def _host(guest: Guest) -> Iterator[BootWord]:
    data = guest.data

    def sync(value: int) -> str:
        names = {int(state): state.name.removeprefix("SYNC_STATE_").lower() for state in SyncState}
        return names.get(value, "unknown").replace("_", " ")

    def yes(value: int) -> str:
        return "yes" if value else "no"

    for cpu in range(len(guest.hwids)):
        yield BootWord(f"cpu_present[{cpu}]", data.present(cpu), 1, yes)
        yield BootWord(f"cpu_online[{cpu}]", data.online(cpu), 1, yes)
        yield BootWord(f"ap_sync_state[{cpu}]", data.sync_state(cpu), 4, sync)
        for name, pa, size in (
            ("cpu_release_addr", data.release(cpu), 8),
            ("mailbox", data.mailbox(cpu), 16),
            ("cpu_enabled", data.enabled(cpu), 1),
            ("hotplug_request", data.request(cpu), 4),
            ("hotplug_done", data.done(cpu), 4),
            ("rcu_busy", data.rcu(cpu), 4),
        ):
            yield BootWord(f"{name}[{cpu}]", pa, size, lambda value: "", minor=True)
    yield BootWord("cpu_running", data.cpu_running, 4, lambda value: "")
    yield BootWord("cpus_stuck_in_kernel", data.stuck, 4, lambda value: "")

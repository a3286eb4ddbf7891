"""What a subject can do, as it was built and as it runs: this decides which choices of a case it has."""

from __future__ import annotations

from dataclasses import dataclass

from emu.subject.symbols import Symbols


@dataclass(frozen=True, slots=True)
class Built:
    """The defaults are those of a design's fragments, whose C side is the host's.

    :ivar hotplug_cpu: CONFIG_HOTPLUG_CPU: a CPU can go down again
    :ivar cpu_up: it has __cpu_up(), which a serial bring-up calls
    :ivar fills_tables: a kernel fills the tables that its secondaries read, and cleans them, by itself
    :ivar looks_up: its secondaries look themselves up by MPIDR
    :ivar va_bits: size of a VA of TTBR1; secondaries are asked for FEAT_LVA when it is 52
    """

    hotplug_cpu: bool = True
    cpu_up: bool = True
    fills_tables: bool = False
    looks_up: bool = True
    va_bits: int = 52


def built_kernel(symbols: Symbols, *, va_bits: int, looks_up: bool, kicks: bool) -> Built:
    """Return what the kernel with these symbols can do.

    remove_cpu() is global, and there with CONFIG_HOTPLUG_CPU alone (Linux v6.12 kernel/cpu.c). A kernel with
    HOTPLUG_SPLIT_STARTUP has a kick of its own in the place of __cpu_up().

    :param va_bits: as the boot CPU has set TCR_EL1.T1SZ
    :param kicks: it has a kick of its own
    """
    return Built(
        hotplug_cpu=symbols.address("remove_cpu") is not None,
        cpu_up=symbols.address("__cpu_up") is not None or not kicks,
        fills_tables=True,
        looks_up=looks_up,
        va_bits=va_bits,
    )

"""What a subject can do, as it was built and as it runs: this decides which choices of a case it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from emu.subject.symbols import Symbols

_ASKS = "arch_cpuhp_init_parallel_bringup"
# Functions of HOTPLUG_PARALLEL; a compiler inlines the static one (Linux v6.12 kernel/cpu.c).
_PARALLEL = ("parallel_bringup_parse_param", "cpuhp_bringup_cpus_parallel", _ASKS)
_HINT, _HINT_MASK = 0xD503_201F, 0xFFFF_F01F  # BTI, PACIASP, AUTIASP, NOP
_TRUE = (0x5280_0020, 0x3200_03E0)  # mov w0, #1, in both encodings
_RET = 0xD65F_03C0


@dataclass(frozen=True, slots=True)
class Built:
    """The defaults are those of a design's fragments, whose C side is the host's.

    :ivar hotplug_cpu: CONFIG_HOTPLUG_CPU: a CPU can go down again
    :ivar cpu_up: it has __cpu_up(), which a serial bring-up calls
    :ivar fills_tables: a kernel fills the tables that its secondaries read, and cleans them, by itself
    :ivar looks_up: its secondaries look themselves up by MPIDR
    :ivar parallel: CONFIG_HOTPLUG_PARALLEL: its cpuhp core kicks all CPUs before it waits for the first;
        None: the host's does where the design is made for it
    :ivar asks_method: its arch_cpuhp_init_parallel_bringup() may refuse an enable-method
    :ivar va_bits: size of a VA of TTBR1; secondaries are asked for FEAT_LVA when it is 52
    """

    hotplug_cpu: bool = True
    cpu_up: bool = True
    fills_tables: bool = False
    looks_up: bool = True
    parallel: bool | None = None
    asks_method: bool = True
    va_bits: int = 52


def built_kernel(
    symbols: Symbols, word: Callable[[int], int], *, va_bits: int, looks_up: bool, kicks: bool
) -> Built:
    """Return what the kernel with these symbols can do.

    remove_cpu() is global, and there with CONFIG_HOTPLUG_CPU alone (Linux v6.12 kernel/cpu.c). A kernel with
    HOTPLUG_SPLIT_STARTUP has a kick of its own in the place of __cpu_up().

    :param word: the instruction word (u32) at a VA
    :param va_bits: as the boot CPU has set TCR_EL1.T1SZ
    :param kicks: it has a kick of its own
    """
    return Built(
        hotplug_cpu=symbols.address("remove_cpu") is not None,
        cpu_up=symbols.address("__cpu_up") is not None or not kicks,
        fills_tables=True,
        looks_up=looks_up,
        parallel=any(symbols.address(name) is not None for name in _PARALLEL),
        asks_method=_asks_method(symbols, word),
        va_bits=va_bits,
    )


def _asks_method(symbols: Symbols, word: Callable[[int], int]) -> bool:
    # Whether the kernel may find that it must not kick all CPUs. The weak function returns true and asks
    # nothing; that of an architecture is taken to accept PSCI alone, as those of arm64 do.
    start = symbols.address(_ASKS)
    if start is None:
        return True
    words = (found for found in map(word, count(start, 4)) if found & _HINT_MASK != _HINT)
    return next(words) not in _TRUE or next(words) != _RET

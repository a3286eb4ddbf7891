"""Data symbols that a kallsyms without CONFIG_KALLSYMS_ALL lacks, from the code that uses them."""

from __future__ import annotations

from dataclasses import replace

from emu.subject.bootcode import CODE_MAX, TaskSetup, cleared_address, formed_addresses, task_setup
from emu.subject.symbols import Symbols

# symbol: (function, register that first holds its address). Linux v6.1 to v6.12, arch/arm64/kernel.
_FORMED = {
    "__cpu_logical_map": ("cpu_logical_map", 1),
    "__boot_cpu_mode": ("set_cpu_boot_mode_flag", 1),
    "swapper_pg_dir": ("secondary_startup", 1),
    "idmap_pg_dir": ("secondary_startup", 2),
    "secondary_holding_pen_release": ("secondary_holding_pen", 3),
}


class BootFunctions:
    """The first instructions of functions in an image.

    :param image: the raw Image
    :param base_va: VA (u64) of its first byte
    """

    def __init__(self, image: bytes, base_va: int, symbols: Symbols) -> None:
        self._image, self._base_va, self._symbols = image, base_va, symbols

    def setup(self, function: str) -> TaskSetup:
        """Return the facts of ``function``'s ``init_cpu_task``; all None when there is no such function."""
        code, va = self._code(function)
        return task_setup(code, va)

    def task_layout(self) -> TaskSetup:
        """Return the facts of struct task_struct, and where a secondary's task is from.

        Those of the primary count where they differ: it has come to the take-over by them.
        """
        secondary, primary = self.setup("__secondary_switched"), self.setup("__primary_switched")
        return replace(
            secondary,
            task_stack=primary.task_stack or secondary.task_stack,
            task_cpu=primary.task_cpu or secondary.task_cpu,
            thread_size=primary.thread_size or secondary.thread_size,
        )

    def formed(self) -> dict[str, int]:
        """Return name -> VA of the data symbols whose addresses the boot code forms."""
        found = {name: self._formed(*where) for name, where in _FORMED.items()}
        secondary, primary = self.setup("__secondary_switched"), self.setup("__primary_switched")
        found["secondary_data"] = secondary.task_from if secondary.loaded else None
        found["__per_cpu_offset"] = secondary.per_cpu_offset
        found["init_task"] = None if primary.loaded else primary.task_from
        found["__early_cpu_boot_status"] = cleared_address(*self._code("__secondary_switched"))
        return {name: va for name, va in found.items() if va is not None}

    def recovered(self) -> dict[str, int]:
        """Return name -> VA of data symbols that the table lacks and the code forms."""
        found = self.formed() | {"_text": self._base_va}
        return {name: va for name, va in found.items() if self._symbols.address(name) is None}

    def _formed(self, function: str, register: int) -> int | None:
        return formed_addresses(*self._code(function)).get(register)

    def _code(self, function: str) -> tuple[bytes, int]:
        va = self._symbols.address(function)
        if va is None or not 0 <= va - self._base_va < len(self._image):
            return b"", 0
        at = va - self._base_va
        return self._image[at : at + CODE_MAX], va

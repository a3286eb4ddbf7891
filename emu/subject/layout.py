"""The few struct layouts that bringing up a secondary needs, from BTF or from the boot code."""

from __future__ import annotations

from dataclasses import dataclass

from emu.errors import Untestable
from emu.subject.bootcode import TaskSetup
from emu.subject.btf import HEADER_SIZE, MAGIC, Btf
from emu.subject.symbols import Symbols

_BTF_START = MAGIC + HEADER_SIZE.to_bytes(4, "little") + bytes(4)  # types follow the header


@dataclass(frozen=True, slots=True)
class KernelLayout:
    """Sizes and offsets in bytes.

    ``task_size``, ``task_stack``, ``task_cpu`` are sizeof(struct task_struct) and its ``stack`` and
    ``thread_info.cpu``; ``thread_size`` is THREAD_SIZE; ``secondary_data_*`` are sizeof(struct
    secondary_data) and its ``task`` and ``status``. ``source`` is what they were read from: "BTF" or "code".
    """

    task_size: int
    task_stack: int
    task_cpu: int
    thread_size: int
    secondary_data_size: int
    secondary_data_task: int
    secondary_data_status: int
    source: str


def find_btf(image: bytes, base_va: int, symbols: Symbols, name: str) -> Btf | None:
    """Return the BTF inside a raw Image, or None.

    It lies between ``__start_BTF`` and ``__stop_BTF``; without these symbols its header is searched for.

    :param base_va: VA of the image's first byte
    :raises InvalidSubject: the symbols are there and what they enclose is not BTF
    """
    start, stop = symbols.address("__start_BTF"), symbols.address("__stop_BTF")
    if start is not None and stop is not None:
        blob = image[max(start - base_va, 0) : max(stop - base_va, 0)]
        return Btf(blob, name) if blob else None
    at = image.find(_BTF_START)
    return Btf(image[at:], name) if at >= 0 else None


def layout_from_btf(btf: Btf, thread_size: int) -> KernelLayout:
    """Return the layout that ``btf`` describes; raise Untestable when it lacks a struct or member.

    :param thread_size: bytes; THREAD_SIZE is a macro, so BTF has no trace of it
    """
    return KernelLayout(
        task_size=btf.size("task_struct"),
        task_stack=btf.offset("task_struct", "stack"),
        task_cpu=btf.offset("task_struct", "thread_info") + btf.offset("thread_info", "cpu"),
        thread_size=thread_size,
        secondary_data_size=btf.size("secondary_data"),
        secondary_data_task=btf.offset("secondary_data", "task"),
        secondary_data_status=btf.offset("secondary_data", "status"),
        source="BTF",
    )


def layout_from_code(setup: TaskSetup, task_size: int | None, thread_size: int, name: str) -> KernelLayout:
    """Return the layout that the boot code shows.

    ``status`` is written by C code only; it follows ``task`` in every kernel (arch/arm64/include/asm/smp.h).

    :param task_size: bytes, from the symbol table
    :raises Untestable: the code does not show a field
    """
    if setup.task_stack is None or setup.task_cpu is None or not setup.loaded or task_size is None:
        raise Untestable(
            f"{name}: no BTF and no layout in __secondary_switched; build with CONFIG_DEBUG_INFO_BTF=y"
        )
    task = setup.task_field
    return KernelLayout(
        task_size, setup.task_stack, setup.task_cpu, thread_size, task + 16, task, task + 8, source="code"
    )

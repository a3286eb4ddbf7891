"""The few struct layouts that bringing up a secondary needs, from BTF or from the boot code."""

from __future__ import annotations

from dataclasses import dataclass

from emu.errors import Untestable
from emu.subject.bootcode import TaskSetup
from emu.subject.btf import HEADER_SIZE, MAGIC, Btf
from emu.subject.elf import Elf
from emu.subject.symbols import Symbols

_BTF_START = MAGIC + HEADER_SIZE.to_bytes(4, "little") + bytes(4)  # types follow the header


@dataclass(frozen=True, slots=True)
class KernelLayout:
    """Sizes and offsets in bytes.

    ``task_size``, ``task_stack``, ``task_cpu`` are sizeof(struct task_struct) and its ``stack`` and
    ``thread_info.cpu``; ``thread_size`` is THREAD_SIZE; ``secondary_data_*`` are sizeof(struct
    secondary_data) and its ``task`` and ``status``. ``source`` says where they were read: "BTF" or "code".
    """

    task_size: int
    task_stack: int
    task_cpu: int
    thread_size: int
    secondary_data_size: int
    secondary_data_task: int
    secondary_data_status: int
    source: str


def kernel_layout(
    image: bytes, base_va: int, symbols: Symbols, setup: TaskSetup, elf: Elf | None, name: str
) -> KernelLayout:
    """Return the layout from the kernel's BTF, else from its boot code.

    :param image: the raw Image; its first byte is at VA base_va
    :param setup: what ``init_cpu_task`` shows
    :param elf: the vmlinux, when one was read
    :raises Untestable: neither shows all fields
    :raises InvalidSubject: broken BTF
    """
    # Linux 3305e7f74a14 ("arm64: smp: remove stack from secondary_data"), first in v5.14
    if setup.loaded and setup.task_field:
        raise Untestable(f"{name}: struct secondary_data has a stack before the task, as before Linux 5.14")
    thread_size = _thread_size(symbols, setup, name)
    btf = _find_btf(image, base_va, symbols, elf, name)
    if btf is not None:
        return layout_from_btf(btf, thread_size)
    return layout_from_code(setup, _task_size(symbols, elf), thread_size, name)


def layout_from_btf(btf: Btf, thread_size: int) -> KernelLayout:
    """Return the layout that ``btf`` describes; raise Untestable when it lacks a struct or member.

    :param thread_size: bytes; THREAD_SIZE is a macro, so BTF does not have it
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

    ``status`` is written by C code only; it follows ``task`` in every kernel, which is the first member where
    the code does not show it (arch/arm64/include/asm/smp.h).

    :param task_size: bytes, from the symbol table
    :raises Untestable: the code does not show a field
    """
    if setup.task_stack is None or setup.task_cpu is None or task_size is None:
        rule = "build with CONFIG_DEBUG_INFO_BTF=y"
        raise Untestable(f"{name}: no BTF, and __primary_switched does not show struct task_struct; {rule}")
    return KernelLayout(
        task_size=task_size,
        task_stack=setup.task_stack,
        task_cpu=setup.task_cpu,
        thread_size=thread_size,
        secondary_data_size=setup.task_field + 16,
        secondary_data_task=setup.task_field,
        secondary_data_status=setup.task_field + 8,
        source="code",
    )


def _find_btf(image: bytes, base_va: int, symbols: Symbols, elf: Elf | None, name: str) -> Btf | None:
    # Between the kernel's own symbols; without them (kallsyms of functions only) search for the BTF header.
    start, stop = symbols.address("__start_BTF"), symbols.address("__stop_BTF")
    if start is not None and stop is not None and base_va <= start < stop:
        return Btf(image[start - base_va : stop - base_va], name)
    at = image.find(_BTF_START)
    if at >= 0:
        return Btf(image[at:], name)
    blob = elf.section(".BTF") if elf else None
    return Btf(blob, name) if blob else None


def _thread_size(symbols: Symbols, setup: TaskSetup, name: str) -> int:
    # Linux 6.10 renamed the bounds of the first task's stack (include/asm-generic/vmlinux.lds.h).
    for start, end in (("__start_init_stack", "__end_init_stack"), ("__start_init_task", "__end_init_task")):
        low, high = symbols.address(start), symbols.address(end)
        if low is not None and high is not None and high > low:
            return high - low
    if setup.thread_size:
        return setup.thread_size
    raise Untestable(f"{name}: THREAD_SIZE: neither __start_init_stack nor __primary_switched shows it")


def _task_size(symbols: Symbols, elf: Elf | None) -> int | None:
    # The size of init_task, else the distance to the next symbol.
    for symbol, _, size, _ in elf.symbols() if elf else ():
        if symbol == "init_task" and size:
            return size
    start = symbols.address("init_task")
    after = symbols.after(start) if start is not None else None
    return after - start if start is not None and after is not None else None

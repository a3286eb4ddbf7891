"""kexec with caches: what is copied is clean, and what is not cleaned in the second boot is found there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from booting import run

from emu.case import Case
from emu.debug.session import Session
from emu.host.build import build
from emu.machine.host_memory import HostMemory
from emu.operation import Copy, Kind

Kernel = Callable[[str], Path]


@pytest.mark.parametrize("second", ["v2", "v3", "mainline", "context-id"])
def test_with_lines_a_second_boot_passes_as_it_does_without(second: str) -> None:
    text = f"v3 topology=flat:4 kexec={second}@1"
    done, coherent = run(f"{text} memory=caches"), run(text)
    assert done.messages == []
    assert done.outcomes == ["online"] * 4
    assert done.lines == coherent.lines


def test_what_is_not_cleaned_in_the_second_boot_is_found_there() -> None:
    """The first one leaves CPU2 alone."""
    text = "v3 topology=flat:3 kexec=v3@1 append=maxcpus=2 memory=caches"
    assert run(text).messages == []
    done = run(f"{text} fault=2:no-clean")
    assert any(finding.rule == "stale" and finding.boot == 1 for finding in done.verdict.findings)


def test_what_is_copied_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux arch/arm64/kernel/relocate_kernel.S: dcache_by_myline_op civac behind each page."""
    assert _copy_is_in_memory()

    def stored(self: HostMemory, pa: int, data: bytes) -> None:
        # Planted: by a store through the caches, and no more.
        model = self._machine.model
        assert model is not None
        for at in range(0, len(data), 64):
            model.access(0, pa + at, len(data[at : at + 64]), True, True)
            self._memory.write_bytes(pa + at, data[at : at + 64])
            model.settle()

    monkeypatch.setattr(HostMemory, "_put", stored)
    assert not _copy_is_in_memory()


def _copy_is_in_memory() -> bool:
    # Whether memory has what is copied first, past the caches.
    session = Session(build(Case.parse("mainline topology=flat:2 kexec=v3@1 memory=caches")))
    session.settings.events = {Kind.LOG}
    while "Bye!" not in session.go_on().text:
        pass
    cpu = session.machine.current
    copy = session.machine.actors[cpu].pending
    assert isinstance(copy, Copy)
    session.step(cpu)
    return session.loads.memory(copy.pa, len(copy.data)) == copy.data


def test_a_kernel_s_own_primary_boots_again_with_caches_that_hold_nothing(real_kernel: Kernel) -> None:
    """What it stores again where memory has it from the first boot is the same past the caches."""
    kernel = f"{real_kernel('EMU_KERNEL_SMALL') / 'vmlinux'}"
    once = build(Case(kernel, topology="flat:2", memory="caches"))
    first = len(once.machine.memory.behind)
    done = run(f"{kernel} topology=flat:2 memory=caches kexec={kernel}@0")
    assert done.messages == []
    assert done.outcomes == ["online"] * 2
    assert 0 < len(done.boot.machine.memory.behind) < first

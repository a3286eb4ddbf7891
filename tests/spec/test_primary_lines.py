"""Lines that a kernel's primary has stored to and not cleaned are dirty at the take-over.

The kernel has the RFC's table, and gets what later versions of the series have: a scan of it with the MMU
off, planted at secondary_entry, and a clean of it behind smp_init_cpus(). The twin has a NOP for one branch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bare_pe import assemble
from patching import NOP, Kernel

from emu.case import Case
from emu.explore.explorer import explore_case
from emu.explore.search import Bounds
from emu.host.build import build
from emu.rules import judge

TABLE, ENTRIES = "__mpidr_to_cpuid_table", 4
ROOM = "__show_regs"  # a long function that nobody calls
CACHES = "bringup=parallel memory=caches"


def address(register: str, value: int) -> str:
    """Return MOVs of an address."""
    parts = (f"movk {register}, #{value >> shift & 0xFFFF:#x}, lsl #{shift}" for shift in (16, 32, 48))
    return "\n".join([f"mov {register}, #{value & 0xFFFF:#x}", *parts])


def planted(folder: Path, tmp_path: Path, *, cleans: bool) -> str:
    """Return the case of a kernel that scans its table with the MMU off."""
    kernel = Kernel(folder)
    probe = build(Case.parse(f"{folder} topology=flat:2"))
    table = probe.guest.subject.pa(TABLE)
    room, entry = kernel.at(ROOM), kernel.at("secondary_entry") + 4  # behind BTI
    scan = assemble(
        f"mrs x9, mpidr_el1\nand x9, x9, #0xffffff\n{address('x10', table)}\nmov x11, #0\n"
        f"scan: ldr x12, [x10, x11, lsl #3]\ncmp x12, x9\nb.eq found\nadd x11, x11, #1\n"
        f"cmp x11, #{ENTRIES}\nb.ne scan\nb .\nfound: nop"
    )
    kernel.put(room, scan)
    back = room + len(scan)
    kernel.put(back - 4, kernel.word(entry).to_bytes(4, "little"))
    kernel.branch(back, entry + 4)
    kernel.branch(entry, room)
    clean = back + 4
    size = 8 * ENTRIES
    kernel.put(clean, assemble("stp x29, x30, [sp, #-16]!"))
    kernel.branch(clean + 4, kernel.at("smp_init_cpus"), link=True)
    bounds = assemble(f"{address('x0', probe.guest.subject.va(TABLE))}\nadd x1, x0, #{size}")
    kernel.put(clean + 8, bounds)
    branch = clean + 8 + len(bounds)
    kernel.branch(branch, kernel.at("dcache_clean_poc"), link=True)
    if not cleans:
        kernel.put(branch, NOP.to_bytes(4, "little"))
    kernel.put(branch + 4, assemble("ldp x29, x30, [sp], #16\nret"))
    kernel.branch(kernel.call_of("setup_arch", "smp_init_cpus"), clean, link=True)
    path = tmp_path / "Image"
    path.write_bytes(kernel.image)
    return f"{path} system-map={kernel.map}"


@pytest.fixture(scope="session")
def rfc(real_kernel: Callable[[str], Path]) -> Path:
    """The tree of a kernel that looks its CPUs up."""
    return real_kernel("EMU_KERNEL_RFC")


@pytest.mark.parametrize("counted", ["", " primary-max=100000000"])
@pytest.mark.parametrize("cleans", [True, False])
def test_a_table_that_is_not_cleaned_is_stale_to_a_scan_with_the_mmu_off(
    rfc: Path, tmp_path: Path, cleans: bool, counted: str
) -> None:
    """A primary that takes long is counted and looked at: what it cleans after a look is clean too."""
    case = f"{planted(rfc, tmp_path, cleans=cleans)} topology=flat:3 {CACHES}{counted}"
    boot = build(Case.parse(case))
    boot.machine.run()
    boot.machine.finish()
    rules = {finding.rule for finding in judge(boot.machine.trace).findings}
    assert rules == (set() if cleans else {"arrival", "stale"})


@pytest.mark.parametrize("cleans", [True, False])
def test_an_exploration_finds_the_stale_table(rfc: Path, tmp_path: Path, cleans: bool) -> None:
    explorer, _ = explore_case(
        Case.parse(f"{planted(rfc, tmp_path, cleans=cleans)} topology=flat:3 {CACHES}")
    )
    result = explorer.search(Bounds())
    rules = {found.finding.rule for found in result.findings}
    assert rules == (set() if cleans else {"arrival", "stale"})
    assert result.complete == cleans


@pytest.mark.parametrize("cleans", [True, False])
def test_a_fault_beside_it_does_not_hide_it(rfc: Path, tmp_path: Path, cleans: bool) -> None:
    """A CPU without the granule never comes to the table of the RFC, and to this one it does."""
    case = f"{planted(rfc, tmp_path, cleans=cleans)} topology=flat:3 {CACHES} fault=2:no-granule"
    explorer, _ = explore_case(Case.parse(case))
    result = explorer.search(Bounds(), everything=True)
    stale = {found.finding.cpus for found in result.findings if found.finding.rule == "stale"}
    assert stale == (set() if cleans else {(1,), (2,)})

"""Exclusive, atomic and unaligned accesses that hardware punishes: told in a boot and in an exploration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from programs import run_emu

_PATH = """
#include "include/macros.inc"
#include "include/sysreg.inc"
#include "include/early_status_per_cpu.inc"
#include "boot/secondary_holding_pen.S"
#include "boot/secondary_entry.S"
#include "boot/secondary_startup.S"
#include "lookup/v3.S"
{off}
#include "boot/secondary_startup_mmu.S"
#include "boot/__cpu_secondary_check52bitva.S"
#include "boot/__cpu_setup.S"
#include "boot/__enable_mmu.S"
#include "boot/__no_granule_support.S"
#include "boot/init_kernel_el.S"
#include "boot/__secondary_switched.S"
{on}
#include "slot/slot_per_cpu.S"
#include "boot/secondary_load_task.S"
#include "boot/__secondary_too_slow.S"
#include "boot/set_cpu_boot_mode_flag.S"
#include "boot/finalise_el2.S"
#include "boot/secondary_start_kernel.S"
#include "boot/__hyp_stub_vectors.S"
#include "boot/vectors.S"
#include "data/boot_data.S"
        .balign 64
word:   .zero 64
"""
_AT_WORD = "        adr_l x9, word\n        mov x10, #0\n        mov x11, #0\n"
_FORMS = {
    "ldxr": ("ldxr x10, [x9]\n stxr w11, x10, [x9]", "cortex-a72"),
    "ldaxrh": ("ldaxrh w10, [x9]\n stlxrh w11, w10, [x9]", "cortex-a53"),
    "ldxp": ("ldxp x10, x12, [x9]\n stxp w11, x10, x12, [x9]", "cortex-a57"),
    "ldxr alone": ("ldxrb w10, [x9]\n clrex", "cortex-a72"),
    "ldadd": (".inst 0xf82a012b", "neoverse-n1"),
    "stset": (".inst 0xb82a313f", "neoverse-n1"),
    "swpal": (".inst 0xf8ea812b", "max"),
    "cas": (".inst 0xc8aa7d2b", "neoverse-n1"),
    "casp": (".inst 0x482a7d2c", "neoverse-n1"),
}
_LDAPR = ".inst 0xf8bfc12a"


def attributes(value: int, code: str) -> str:
    """Let memory of AttrIndx 0, which is all, have these attributes while the code runs."""
    switch = "mrs x8, mair_el1\n {}\n msr mair_el1, x8\n tlbi vmalle1\n dsb sy\n isb\n"
    there = f"mov x12, #{value:#x}\n bfi x8, x12, #0, #8"
    back = "mov x12, #0xff\n bfi x8, x12, #0, #8"
    return f"{switch.format(there)} mov x12, #0\n {code}\n {switch.format(back)}"


def caches_off(code: str) -> str:
    """Let the data cache be off while the code runs."""
    switch = "mrs x8, sctlr_el1\n {} x8, x8, #4\n msr sctlr_el1, x8\n isb\n"
    return f"{switch.format('bic')} {code}\n {switch.format('orr')}"


def told(folder: Path, where: str, code: str, cpu: str, *options: str, command: str = "boot") -> list[str]:
    """Return the misuse that the secondary's boot is told for."""
    path = folder / "path.S"
    path.write_text(_PATH.format(**{"off": "", "on": "", where: _AT_WORD + code}))
    done = run_emu(command, str(path), "--cpus", "2", "--cpu", cpu, "--json", *options)
    found = [each for each in json.loads(done.stdout)["findings"] if each["rule"] == "misuse"]
    assert all(each["cpus"] == [1] for each in found)
    assert done.returncode == bool(json.loads(done.stdout)["findings"])
    return [each["what"] for each in found]


@pytest.mark.parametrize("memory", ["coherent", "caches"])
@pytest.mark.parametrize("form", _FORMS)
@pytest.mark.parametrize("place", ["MMU off", "Non-cacheable", "Device", "Write-Through", "caches off"])
def test_an_exclusive_or_atomic_access_needs_write_back_memory(
    place: str, form: str, memory: str, tmp_path: Path
) -> None:
    code, cpu = _FORMS[form]
    where = "off" if place == "MMU off" else "on"
    if place == "caches off":
        code = caches_off(code)
    elif place != "MMU off":
        code = attributes({"Non-cacheable": 0x44, "Device": 0, "Write-Through": 0xBB}[place], code)
    assert told(tmp_path, where, code, cpu, "--memory", memory) == ["exclusive-uncached"]


@pytest.mark.parametrize("form", _FORMS)
def test_an_exploration_tells_of_it_with_either_memory_model(form: str, tmp_path: Path) -> None:
    code, cpu = _FORMS[form]
    for memory in ("coherent", "caches"):
        found = told(tmp_path, "off", code, cpu, "--memory", memory, "--all", command="explore")
        assert set(found) == {"exclusive-uncached"}


@pytest.mark.parametrize("memory", ["coherent", "caches"])
@pytest.mark.parametrize("form", _FORMS)
def test_one_to_write_back_memory_is_told_of_by_nobody(form: str, memory: str, tmp_path: Path) -> None:
    assert told(tmp_path, "on", *_FORMS[form], "--memory", memory) == []


@pytest.mark.parametrize("memory", ["coherent", "caches"])
def test_a_load_acquire_needs_no_monitor(memory: str, tmp_path: Path) -> None:
    """LDAPR lies among the atomics, and is none."""
    assert told(tmp_path, "off", _LDAPR, "neoverse-n1", "--memory", memory) == []


_SIMD = "mov x8, #3 << 20\n msr cpacr_el1, x8\n isb\n"


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("ld1 {v0.16b}, [x9]", []),
        ("ld4 {v0.8b-v3.8b}, [x9]", []),
        ("st1 {v0.16b, v1.16b}, [x9], #32", []),
        ("st1 {v0.b}[3], [x9]", []),
        ("ld1 {v0.8h}, [x9]", ["unaligned-mmu-off"]),
        ("st1 {v0.2d}, [x9]", ["unaligned-mmu-off"]),
        ("st3 {v0.4s-v2.4s}, [x9]", ["unaligned-mmu-off"]),
        ("ld1 {v0.s}[1], [x9]", ["unaligned-mmu-off"]),
        ("ldr q0, [x9]", ["unaligned-mmu-off"]),
        ("stp q0, q1, [x9]", ["unaligned-mmu-off"]),
    ],
)
def test_structures_are_aligned_by_element(code: str, what: list[str], tmp_path: Path) -> None:
    """DDI 0487 B2.5.2: of LD1 to LD4 and ST1 to ST4 the alignment of an element is what counts."""
    assert told(tmp_path, "off", f"{_SIMD} add x9, x9, #1\n {code}", "cortex-a72") == what


@pytest.mark.parametrize(
    ("code", "cpu"),
    [
        ("ldxr x10, [x9]", "cortex-a72"),
        ("ldaxrh w10, [x9]", "cortex-a53"),
        ("ldaxp x10, x11, [x9]", "cortex-a72"),
        (".inst 0xf82a012b", "neoverse-n1"),  # LDADD
        (".inst 0xc8aa7d2b", "max"),  # CAS
    ],
)
@pytest.mark.parametrize("handled", [False, True])
def test_an_unaligned_exclusive_is_told_of_though_its_handler_passes_over_it(
    code: str, cpu: str, handled: bool, tmp_path: Path
) -> None:
    vectors = """        adr x8, 1f
        msr vbar_el1, x8
        isb
        b 2f
        .balign 2048
1:      .skip 0x200
        mrs x8, elr_el1
        add x8, x8, #4
        msr elr_el1, x8
        eret
2:
"""
    text = (vectors if handled else "") + f"        add x9, x9, #1\n        {code}\n"
    assert "unaligned-exclusive" in told(tmp_path, "on", text, cpu)

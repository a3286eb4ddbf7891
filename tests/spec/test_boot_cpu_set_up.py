"""The boot CPU of fragments in its own set-up code: what it does there is told like that of any CPU."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from programs import run_emu

ROOT = Path(__file__).resolve().parents[2]
_WHOLE = """
#include "include/macros.inc"
#include "include/sysreg.inc"
#include "include/early_status_per_cpu.inc"
#include "boot/secondary_holding_pen.S"
#include "boot/secondary_entry.S"
#include "boot/secondary_startup.S"
#include "lookup/v3.S"
#include "boot/secondary_startup_mmu.S"
#include "boot/__cpu_secondary_check52bitva.S"
{cpu_setup}
#include "boot/__enable_mmu.S"
#include "boot/__no_granule_support.S"
{init_kernel_el}
#include "boot/__secondary_switched.S"
#include "slot/slot_per_cpu.S"
#include "boot/secondary_load_task.S"
#include "boot/__secondary_too_slow.S"
#include "boot/set_cpu_boot_mode_flag.S"
#include "boot/finalise_el2.S"
#include "boot/secondary_start_kernel.S"
#include "boot/__hyp_stub_vectors.S"
#include "boot/vectors.S"
#include "data/boot_data.S"
"""
_OF_BOOT_CPU = "        mrs x9, mpidr_el1\n        tst x9, #0xff\n        b.ne 9f\n{code}\n9:\n"


def written(folder: Path, *, init: str = "", setup: str = "", without: str = "") -> Path:
    """Write v3 with code at the begin of init_kernel_el or __cpu_setup, or without an MSR of the first."""
    parts = {}
    for name, code in (("init_kernel_el", init), ("__cpu_setup", setup)):
        text = (ROOT / "asm/boot" / f"{name}.S").read_text()
        assert f"\n{name}:\n" in text
        parts[name.strip("_")] = text.replace(f"\n{name}:\n", f"\n{name}:\n{code}\n")
    if without:
        text, found = re.subn(rf"\n +msr +{without}, .*", "\n        nop", parts["init_kernel_el"])
        assert found
        parts["init_kernel_el"] = text
    path = folder / "boot.S"
    path.write_text(_WHOLE.format(**parts))
    return path


@pytest.mark.parametrize("where", ["init", "setup"])
@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("brk #7", "no code at its exception vector"),
        (".word 0", "no code at its exception vector"),
        ("mov x9, #0\n br x9", "no code at its exception vector"),
        ("clrex\n wfi", "waits for an interrupt"),
        ("b .", "branches to itself"),
        ("wfe\n wfe", "asleep in WFE"),
        ("2: nop\n b 2b", "spins for ever"),
    ],
)
def test_a_boot_cpu_that_does_not_come_out_of_its_set_up_is_a_finding(
    code: str, outcome: str, where: str, tmp_path: Path
) -> None:
    path = written(tmp_path, **{where: _OF_BOOT_CPU.format(code=code)})
    for command in ("boot", "explore"):
        done = run_emu(command, str(path), "--cpus", "3", "--json")
        assert done.returncode == 1, done.stderr
        found = json.loads(done.stdout)["findings"]
        assert ("arrival", "boot-cpu", [0]) in [(each["rule"], each["what"], each["cpus"]) for each in found]
    shown = run_emu("boot", str(path), "--cpus", "3").stdout
    assert outcome in shown
    assert "0 of 3 CPUs online" in shown


def test_the_brk_of_a_boot_cpu_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, init=_OF_BOOT_CPU.format(code="brk #0x321"))
    shown = run_emu("boot", str(path), "--cpus", "2").stdout
    assert "CPU0 executes BRK #0x321" in shown


def test_an_illegal_exception_return_in_the_set_up_is_a_finding(tmp_path: Path) -> None:
    """HCR_EL2.RW left clear: the return to EL1 in AArch64 is illegal, EC 0x0e."""
    path = written(tmp_path, without="hcr_el2")
    done = run_emu("boot", str(path), "--cpus", "2", "--el", "2")
    assert done.returncode == 1
    assert "CPU0, the boot CPU, does not come out of its own set-up code" in done.stdout
    assert "ESR 0x3a000000" in done.stdout


@pytest.mark.parametrize("el", ["1", "2"])
def test_a_boot_cpu_may_call_firmware_in_its_set_up(el: str, tmp_path: Path) -> None:
    code = "        movz x0, #0x8400, lsl #16\n        smc #0\n        tbnz x0, #63, .\n"
    done = run_emu("boot", str(written(tmp_path, setup=code)), "--cpus", "2", "--el", el)
    assert (done.returncode, "2 of 2 CPUs online" in done.stdout) == (0, True)


def test_a_boot_cpu_may_take_an_exception_in_its_set_up(tmp_path: Path) -> None:
    """Its handler goes on behind the instruction."""
    code = """        adr x9, 3f
        msr vbar_el1, x9
        isb
        brk #1
        b 4f
        .balign 2048
3:      .skip 0x200
        mrs x9, elr_el1
        add x9, x9, #4
        msr elr_el1, x9
        eret
4:"""
    done = run_emu("boot", str(written(tmp_path, init=_OF_BOOT_CPU.format(code=code))), "--cpus", "2")
    assert "2 of 2 CPUs online" in done.stdout


def test_what_is_not_modelled_in_the_set_up_is_untestable(tmp_path: Path) -> None:
    path = written(tmp_path, init=_OF_BOOT_CPU.format(code="mrs x9, s3_1_c15_c2_1"))
    done = run_emu("boot", str(path), "--cpus", "2")
    assert (done.returncode, "not modelled" in done.stdout) == (125, True)

"""What init_el2 has to set, left out of it: each register is UNKNOWN at reset, and is told by its name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from programs import run_emu

ROOT = Path(__file__).resolve().parents[2]
_REGISTERS = ("SCTLR", "CNTHCTL", "CNTVOFF", "MDCR", "VTTBR", "HSTR", "VPIDR", "VMPIDR", "CPTR", "VBAR")
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
#include "boot/__cpu_setup.S"
#include "boot/__enable_mmu.S"
#include "boot/__no_granule_support.S"
{init_kernel_el}
#include "boot/__secondary_switched.S"
#include "slot/slot_per_cpu.S"
#include "boot/secondary_load_task.S"
#include "boot/__secondary_too_slow.S"
#include "boot/set_cpu_boot_mode_flag.S"
{finalise_el2}
#include "boot/secondary_start_kernel.S"
#include "boot/__hyp_stub_vectors.S"
#include "boot/vectors.S"
#include "data/boot_data.S"
"""
_BY_BOOT_CPU = "        mrs x2, mpidr_el1\n        tst x2, #0xff\n        b.ne 9f\n{}\n9:"


def written(folder: Path, register: str, *, by_boot_cpu: bool) -> Path:
    """Write v3 with a register of EL2 set by the boot CPU alone, or by nobody."""
    text = (ROOT / "asm/boot/init_kernel_el.S").read_text()
    lines = [line for line in text.split("\n") if re.match(rf" +msr +{register.lower()}_el2, ", line)]
    for line in lines:
        text = text.replace(line, _BY_BOOT_CPU.format(line) if by_boot_cpu else "        nop")
    assert lines
    path = folder / "boot.S"
    # Without finalise_el2: it would enter the stub, which VBAR_EL2 is for.
    path.write_text(_WHOLE.format(init_kernel_el=text, finalise_el2="finalise_el2: ret"))
    return path


@pytest.mark.parametrize("cpu", ["cortex-a72", "neoverse-n1", "max"])
@pytest.mark.parametrize(
    ("register", "by_boot_cpu"),
    # VBAR_EL2 is 0 at reset on each of our PEs.
    [(each, by) for each in _REGISTERS for by in (False, True) if each != "VBAR" or by],
)
def test_a_register_that_secondaries_do_not_set_is_told_by_its_name(
    register: str, by_boot_cpu: bool, cpu: str, tmp_path: Path
) -> None:
    path = written(tmp_path, register, by_boot_cpu=by_boot_cpu)
    done = run_emu("boot", str(path), "--cpus", "3", "--el", "2", "--cpu", cpu)
    assert done.returncode == 1
    assert [name for name in _REGISTERS if f"has {name}_EL2" in done.stdout] == [register]
    assert f"CPU1 has {register}_EL2" in done.stdout
    assert f"CPU2 has {register}_EL2" in done.stdout
    assert "fail: 3 of 3 CPUs online, 2 findings" in done.stdout


def test_a_path_that_sets_all_of_them_passes(tmp_path: Path) -> None:
    path = written(tmp_path, "VBAR", by_boot_cpu=False)
    text = path.read_text().replace("        adr_l   x0, __hyp_stub_vectors\n        nop\n", "", 1)
    path.write_text(text)
    done = run_emu("boot", str(path), "--cpus", "3", "--el", "2")
    assert done.returncode == 0, done.stdout


def _replaced(folder: Path, old: str, new: str) -> Path:
    text = (ROOT / "asm/boot/init_kernel_el.S").read_text()
    assert text.count(old) == 1
    path = folder / "boot.S"
    path.write_text(_WHOLE.format(init_kernel_el=text.replace(old, new), finalise_el2="finalise_el2: ret"))
    return path


_WITHOUT_VALUE = {
    "ICC_SRE_EL2": "mrs x0, s3_4_c12_c9_5\n mov x2, #9\n orr x0, x0, x2\n msr s3_4_c12_c9_5, x0\n isb",
    "ICH_HCR_EL2": "msr s3_4_c12_c11_0, xzr",
    "LORC_EL1": "msr s3_0_c10_c4_3, xzr",
}


@pytest.mark.parametrize("register", _WITHOUT_VALUE)
@pytest.mark.parametrize("by_boot_cpu", [False, True])
def test_a_register_that_reads_the_same_whatever_is_written_is_told_if_the_boot_cpu_alone_writes_it(
    register: str, by_boot_cpu: bool, tmp_path: Path
) -> None:
    before, write = "        msr     vttbr_el2, xzr\n", _WITHOUT_VALUE[register]
    code = _BY_BOOT_CPU.format(write) if by_boot_cpu else write
    path = _replaced(tmp_path, before, f"{before}{code}\n")
    ids = {"ID_AA64PFR0_EL1": "0x1002222"}  # with a GICv3
    cpus = [{"hwid": hwid, "id_registers": ids} for hwid in range(3)]
    (tmp_path / "gic.json").write_text(json.dumps({"cpus": cpus}))
    topology = str(tmp_path / "gic.json")
    done = run_emu("boot", str(path), "--topology", topology, "--el", "2", "--cpu", "neoverse-n1")
    assert done.returncode == by_boot_cpu, done.stdout
    if by_boot_cpu:
        for cpu in (1, 2):
            assert f"CPU{cpu} comes without having written {register} at EL2" in done.stdout


def test_sctlr_el1_is_told_although_it_is_written_again_at_el1(tmp_path: Path) -> None:
    line = "        msr     sctlr_el1, x1\n"
    done = run_emu("boot", str(_replaced(tmp_path, line, "")), "--cpus", "3", "--el", "2")
    assert done.returncode == 1
    assert "CPU1 has left EL2 without having written SCTLR_EL1, which is" in done.stdout
    done = run_emu(
        "boot", str(_replaced(tmp_path, line, _BY_BOOT_CPU.format(line))), "--cpus", "3", "--el", "2"
    )
    assert done.returncode == 1
    assert "CPU2 comes without having written SCTLR_EL1 at EL2" in done.stdout


@pytest.mark.parametrize(
    ("el", "line", "register"),
    [
        (2, "        msr     hcr_el2, x0\n", "HCR_EL2"),
        (2, "        msr     spsr_el2, x0\n", "SPSR_EL2"),
        (2, "        msr     elr_el2, x30\n", "ELR_EL2"),
        (1, "        msr     spsr_el1, x0\n", "SPSR_EL1"),
        (1, "        msr     elr_el1, x30\n", "ELR_EL1"),
    ],
)
@pytest.mark.parametrize("by_boot_cpu", [False, True])
def test_what_an_exception_return_goes_by_is_told_by_name_when_nothing_has_set_it(
    el: int, line: str, register: str, by_boot_cpu: bool, tmp_path: Path
) -> None:
    path = _replaced(tmp_path, line, _BY_BOOT_CPU.format(line) if by_boot_cpu else "")
    done = run_emu("boot", str(path), "--cpus", "2", "--el", str(el), "--json")
    assert done.returncode == 1
    told = [each for each in json.loads(done.stdout)["findings"] if each["rule"] == "misuse"]
    told = [each for each in told if each["what"].startswith("unset-")]
    assert [each["cpus"] for each in told] == [[int(by_boot_cpu)]]
    assert f" {register}, which nothing has set since reset" in told[0]["message"]

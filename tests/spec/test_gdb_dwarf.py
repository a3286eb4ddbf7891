"""gdb-multiarch with the DWARF 5 of a vmlinux beside our symbols."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from programs import run_program
from test_gdb import serving

from emu.arch.boot import VA_OFFSET
from emu.designs import DESIGNS

_GNU = "aarch64-linux-gnu-"
_KERNEL = os.environ.get("EMU_KERNEL_DWARF5")  # tools/nightly sets it; no kernel of CI has DWARF
_TO_PA = f"-o {-VA_OFFSET % 2**64:#x}"

_KERNEL_C = """\
void idle(void);
__attribute__((section(".landing"))) void secondary_start_kernel(void)
{
        for (;;)
                idle();
}
void idle(void)
{
}
"""
_EARLY_S = """\
        .section .early, "ax"
        .globl  __secondary_switched
__secondary_switched:
        mov     x0, x20
        bl      idle
        mov     x0, x20
"""


def make_vmlinux(folder: Path) -> Path:
    """Return an ELF with DWARF 5 for two functions of v3, at their VAs; gdb reads code from the machine."""
    if shutil.which(_GNU + "gcc") is None:
        pytest.skip(f"{_GNU}gcc: not found (Debian: gcc-aarch64-linux-gnu)")
    subject = DESIGNS["v3"].load(2)
    (folder / "kernel.c").write_text(_KERNEL_C)
    (folder / "early.S").write_text(_EARLY_S)
    for name in ("kernel.c", "early.S"):
        run_program(_GNU + "gcc", "-gdwarf-5", "-O0", "-c", name, cwd=folder)
    landing = subject.va("secondary_start_kernel")
    places = {".landing": landing, ".early": subject.va("__secondary_switched"), ".text": landing + (1 << 20)}
    starts = [f"--section-start={name}={va:#x}" for name, va in places.items()]
    run_program(_GNU + "ld", "-e", "0", *starts, "-o", "vmlinux", "kernel.o", "early.o", cwd=folder)
    return folder / "vmlinux"


def test_lines_of_a_vmlinux_and_callers_of_ours(tmp_path: Path) -> None:
    """And gdb's breakpoint behind the prologue of what the host plays stops at the first instruction."""
    vmlinux = make_vmlinux(tmp_path)
    landed = "p $pc == (long)&secondary_start_kernel"
    with serving(tmp_path, "v3", "--cpus", "2") as target:
        text = target.gdb(
            *(f"add-symbol-file {vmlinux} -o 0", f"add-symbol-file {vmlinux} {_TO_PA}"),
            *("break __secondary_switched", "break *&set_cpu_boot_mode_flag", "break secondary_start_kernel"),
            *("info breakpoints", "continue", "continue", "backtrace", "finish", "continue", landed),
            *("backtrace", "continue", "reverse-continue", landed, "kill"),
        )
    assert re.search(r"3\.2 +y +0xffff8000\w+ in secondary_start_kernel at kernel\.c:5\n", text)
    assert "Thread 2 hit Breakpoint 1.2, __secondary_switched () at early.S:4\n" in text
    assert re.search(
        r"#0 .*in set_cpu_boot_mode_flag \(\)\n#1 .*in __secondary_switched \(\) at early\.S:5\n", text
    )
    assert "__secondary_switched () at early.S:6\n" in text, "finish"
    assert "secondary_start_kernel+0x8: no CPU comes there, the host plays the kernel from " in text
    assert re.findall(r"^\$\d = (\d)", text, re.MULTILINE) == ["1", "1"], "forwards and backwards"
    assert re.search(r"#0 +secondary_start_kernel \(\) at kernel\.c:3\n#1 .*in init_cpu_task \(\)", text)


if _KERNEL:

    def test_a_kernel_with_dwarf_has_lines_and_callers_in_assembly(tmp_path: Path) -> None:
        assert _KERNEL is not None
        vmlinux = Path(_KERNEL) / "vmlinux"
        with serving(tmp_path, _KERNEL, "--cpus", "2") as target:
            text = target.gdb(
                *(f"add-symbol-file {vmlinux} -o 0", f"add-symbol-file {vmlinux} {_TO_PA}"),
                *("tbreak *&__enable_mmu", "continue", "backtrace", "finish", "break set_cpu_boot_mode_flag"),
                *("break secondary_start_kernel", "continue", "backtrace", "finish", "continue", "backtrace"),
            )
        assert re.search(r"#0 .* in __enable_mmu \(\)\n#1 +0x0+4\w+ in secondary_startup \(\)\n", text)
        head = r"arch/arm64/kernel/head\.S:\d+\n"
        assert re.search(
            rf"#0 +set_cpu_boot_mode_flag \(\) at {head}#1 .* __secondary_switched \(\) at {head}", text
        )
        assert re.search(rf"\n__secondary_switched \(\) at {head}", text), "finish"
        assert re.search(
            rf"#0 +secondary_start_kernel \(\) at .*\n#1 .* __secondary_switched \(\) at {head}", text
        )

    def test_a_kernel_with_dwarf_that_boots_by_itself_has_them_in_c_too(tmp_path: Path) -> None:
        assert _KERNEL is not None
        vmlinux = Path(_KERNEL) / "vmlinux"
        how = ("--depth", "whole", "--from", "smp_init", "--cpus", "2")
        with serving(tmp_path, _KERNEL, *how) as target:
            text = target.gdb(
                *(f"add-symbol-file {vmlinux} -o 0", f"add-symbol-file {vmlinux} {_TO_PA}"),
                *("break set_cpu_online", "continue", "backtrace", "finish", "reverse-finish", "backtrace"),
            )
        online = r"#0 +set_cpu_online \(cpu=cpu@entry=1, .*\) at kernel/cpu\.c:\d+\n"
        smp = r"#1 .* in secondary_start_kernel \(\) at arch/arm64/kernel/smp\.c:\d+\n"
        head = r"#2 .* in __secondary_switched \(\) at arch/arm64/kernel/head\.S:\d+\n"
        assert len(re.findall(online + smp + head, text)) == 2, text
        assert re.search(r"\nsecondary_start_kernel \(\) at arch/arm64/kernel/smp\.c:\d+\n", text), "finish"

    def test_a_kernel_with_dwarf_has_lines_in_step(tmp_path: Path) -> None:
        assert _KERNEL is not None
        script = tmp_path / "lines.emu"
        script.write_text("break set_cpu_boot_mode_flag\ncontinue\nbacktrace\n")
        said = run_program(
            sys.executable, "-m", "emu", "step", _KERNEL, "--cpus", "2", "--script", script
        ).stdout
        assert re.search(r"CPU1 EL1 MMU on  set_cpu_boot_mode_flag \(arch/arm64/kernel/head\.S:\d+\): ", said)
        assert re.search(r"\n1 +0xffff8000\w+ __secondary_switched\+", said)

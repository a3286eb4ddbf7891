"""Flat images, as kvm-unit-tests are: what they print and how they end, here and on QEMU."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bare_pe import assemble
from programs import run_emu, run_program
from reference.qemu import missing

ROOT = Path(__file__).parents[2]
BASE = 0x4008_0000
pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

# x20: whether it passes (Z), then the text that is printed, and SYSTEM_OFF.
END = """
end: adr x20, pass
 b.eq say
 adr x20, fail
say: movz x3, #0x900, lsl #16
more: ldrb w4, [x20], #1
 cbz w4, off
 strb w4, [x3]
 b more
off: movz x0, #0x8400, lsl #16
 add x0, x0, #8
 hvc #0
 b .
pass: .asciz "PASS: {name}: it does\\nEXIT: STATUS=1\\n"
fail: .asciz "FAIL: {name}: it does not\\nEXIT: STATUS=3\\n"
"""
# What X0 leads to begins as a device tree does.
TREE = "ldr w1, [x0]\n movz w2, #{low}\n movk w2, #0xedfe, lsl #16\n cmp w1, w2\n"
# CPU1 is started by CPU_ON, with a context of its own, and says so in memory.
SECOND = """
 movz x0, #0xc400, lsl #16
 add x0, x0, #3
 mov x1, #1
 adr x2, second
 movz x3, #0x1234
 hvc #0
 adr x5, word
wait: ldr x4, [x5]
 cbz x4, wait
 movz x3, #0x1234
 cmp x4, x3
 b end
second: adr x5, word
 str x0, [x5]
 b .
 .balign 8
word: .quad 0
"""
# An undefined instruction is taken at EL1, with EC 0 and the address of that instruction.
VECTORS = """
 adr x1, vectors
 msr vbar_el1, x1
 isb
 adr x7, bad
bad: .long 0
 b end
 .balign 2048
vectors: .space 512
 mrs x1, esr_el1
 mrs x2, elr_el1
 lsr x1, x1, #26
 sub x2, x2, x7
 orr x1, x1, x2
 cmp x1, #0
 b end
"""
# The virtual timer's PPI, 27, ends a WFI and is acknowledged at a GICv3.
TIMER = """
 movz x1, #0x800, lsl #16
 mov w2, #0x12
 str w2, [x1]
 movz x1, #0x80a, lsl #16
 str wzr, [x1, #0x14]
 movz x1, #0x80b, lsl #16
 mov w2, #-1
 str w2, [x1, #0x80]
 movz w2, #0x800, lsl #16
 str w2, [x1, #0x100]
 mov x2, #7
 msr s3_0_c12_c12_5, x2
 isb
 mov x2, #0xf0
 msr s3_0_c4_c6_0, x2
 mov x2, #1
 msr s3_0_c12_c12_7, x2
 isb
 mov x2, #1000
 msr cntv_tval_el0, x2
 mov x2, #1
 msr cntv_ctl_el0, x2
 isb
 wfi
 mrs x1, s3_0_c12_c12_0
 cmp x1, #27
"""
IMAGES = {
    "device-tree": (TREE.format(low="0x0dd0"), 0),
    "no-device-tree": (TREE.format(low="0x0dd1"), 1),
    "second-cpu": (SECOND, 0),
    "vectors": (VECTORS, 0),
    "timer": (TIMER, 0),
}


def written(folder: Path, name: str) -> Path:
    """The image of this name."""
    path = folder / f"{name}.flat"
    path.write_bytes(assemble(IMAGES[name][0] + END.format(name=name), BASE))
    return path


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_has_the_status_that_it_says(name: str, tmp_path: Path) -> None:
    done = run_emu("boot", written(tmp_path, name), "--cpus", "2", "--conduit", "hvc")
    assert done.returncode == IMAGES[name][1], done.stdout + done.stderr
    assert "PASS" in done.stdout or "says that it has failed, with exit code 1" in done.stdout


def test_a_folder_of_images_says_the_same_on_qemu(tmp_path: Path) -> None:
    for name in IMAGES:
        written(tmp_path, name)
    done = run_program(sys.executable, ROOT / "tools" / "flat-images", "--cpus", "2", tmp_path)
    assert "4 of 5 pass on both, 0 differ" in done.stdout
    assert "no-device-tree: fail\n" in done.stdout


def test_the_list_of_a_folder_says_what_is_run_and_how(tmp_path: Path) -> None:
    for name in IMAGES:
        written(tmp_path, name)
    listed = (
        "[boots-two]\nfile = second-cpu.flat\nsmp = 2\nextra_params = -append 'x y'\n[gone]\nfile = no.flat\n"
    )
    (tmp_path / "unittests.cfg").write_text(listed)
    done = run_program(sys.executable, ROOT / "tools" / "flat-images", tmp_path)
    assert done.stdout == "boots-two: pass\n1 of 1 pass on both, 0 differ\n"


@pytest.mark.parametrize(
    ("data", "options", "says"),
    [
        (b"", (), "0 bytes: a flat image has 4 bytes to 64 MiB"),
        (bytes(8), ("--system-map", "x"), "a flat image, which has no symbols"),
        (bytes(8), ("--until", "smp_init"), "until=smp_init: no symbol"),
        (bytes(8), ("--firmware", "acpi"), "without CONFIG_ACPI"),
    ],
)
def test_what_a_flat_image_has_not_is_refused(
    data: bytes, options: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.flat"
    path.write_bytes(data)
    done = run_emu("boot", path, *options)
    assert (done.returncode in (2, 125), says in done.stderr) == (True, True), done.stderr

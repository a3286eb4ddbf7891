"""A kernel's primary that never comes to the take-over: noticed, and told with the place."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from bare_pe import assemble

from emu.case import Case
from emu.errors import InvalidCase, Untestable
from emu.host.build import build
from emu.host.guest import Guest
from emu.host.kernel import LoadedKernel
from emu.machine import Machine
from emu.subject import kernel as kernel_module

BOUND = 300_000  # instructions
AT = 0x10000  # of the code in the Image: where its text begins
NEVER = {
    "b .": "it branches to itself, from ",
    "l: ldr x1, [x0]\n b l": "it goes round with no effect, from ",
    "l: str x0, [x0]\n b l": "it goes round with no effect, from ",
    "l: wfi\n b l": "it waits in WFI, from ",
    "l: wfe\n b l": "it waits in WFE, from ",
    "mov x1, #0x10000000000\nl: subs x1, x1, #1\n b.ne l\n b .": f"not within {BOUND} instructions",
    "l: mrs x1, cntvct_el0\n b l": "it has read the counter more than 50000 times, from ",
    "l: movz x0, #4\n movk x0, #0xc400, lsl #16\n mov x2, #0\n smc #0\n b l": (
        "it has called firmware 2000 times, function 0xc4000004 last, from "
    ),
    ".word 0": "it takes 1000 exceptions and one more, ESR 0x86000010, FAR 0x200, from 0x200",
    # A handler that returns to the instruction.
    "adr x1, v\n msr vbar_el1, x1\n .word 0\n .balign 2048\nv: .zero 512\n eret": (
        "it takes 1000 exceptions and one more, ESR 0x2000000, from "
    ),
}


@pytest.fixture(scope="session")
def small(real_kernel: Callable[[str], Path]) -> Path:
    """The tree of a small kernel."""
    return real_kernel("EMU_KERNEL_SMALL")


def planted(small: Path, tmp_path: Path, text: str) -> str:
    """Return the case of the kernel whose primary_entry branches to ``text``."""
    image = bytearray((small / "arch/arm64/boot/Image").read_bytes())
    code = assemble(text, AT)
    entry = 4 + 4 * (int.from_bytes(image[4:8], "little") & 0x3FF_FFFF)  # the header's branch leads there
    image[entry : entry + 4] = (0x1400_0000 | (AT - entry) >> 2 & 0x3FF_FFFF).to_bytes(4, "little")
    image[AT : AT + len(code)] = code
    path = tmp_path / "Image"
    path.write_bytes(image)
    return f"{path} topology=flat:2 system-map={small / 'System.map'}"


@pytest.mark.parametrize(("text", "told"), NEVER.items())
def test_what_never_comes_to_the_take_over_is_told(small: Path, tmp_path: Path, text: str, told: str) -> None:
    case = Case.parse(f"{planted(small, tmp_path, text)} primary-max={BOUND}")
    expected = f"the primary did not come to smp_prepare_boot_cpu(): {told}"
    with pytest.raises(Untestable, match=re.escape(expected)) as raised:
        build(case)
    assert raised.value.exit_status == 125


def test_a_spin_is_noticed_without_a_bound_that_was_asked_for(small: Path, tmp_path: Path) -> None:
    with pytest.raises(Untestable, match="it goes round with no effect"):
        build(Case.parse(planted(small, tmp_path, "l: ldr x1, [x0]\n cbz xzr, l")))


def test_a_take_over_at_a_wrong_symbol_is_told(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong System.map, of a kernel without kallsyms of its own: the primary panics behind the place."""
    monkeypatch.setattr(kernel_module, "_own_symbols", lambda *_: None)
    text = (small / "System.map").read_text()
    never = re.search(r"^(\w+) t __secondary_too_slow$", text, re.M)
    assert never is not None
    wrong = tmp_path / "System.map"
    changed = re.sub(r"^\w+( T smp_prepare_boot_cpu)$", rf"{never[1]}\1", text, flags=re.M)
    wrong.write_text("".join(sorted(changed.splitlines(keepends=True))))
    image = small / "arch/arm64/boot/Image"
    with pytest.raises(Untestable, match=r"it calls panic\(\), from time_init"):
        build(Case.parse(f"{image} topology=flat:2 system-map={wrong} primary-max=100000000"))


def test_the_bound_that_is_hit_is_named_and_can_be_raised(small: Path) -> None:
    image = small / "arch/arm64/boot/Image"
    case = f"{image} topology=flat:2 primary-max="
    with pytest.raises(Untestable, match=r"not within 1000 instructions \(--primary-max gives it more\)"):
        build(Case.parse(f"{case}1000"))
    build(Case.parse(f"{case}100000000"))


@pytest.mark.parametrize("case", ["v3 primary-max=1000", "v3 kexec=v3 primary-max=1000"])
def test_a_bound_of_a_primary_that_there_is_not_is_refused(case: str) -> None:
    with pytest.raises(InvalidCase, match="primary-max=1000: no kernel here whose primary boots"):
        build(Case.parse(case))


def test_a_bound_below_zero_is_refused() -> None:
    with pytest.raises(InvalidCase, match="primary-max=-1: at least 1"):
        build(Case.parse("v3 primary-max=-1"))


def test_a_slow_host_counts_and_comes_to_the_same(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted host: a millisecond for the run that is not counted."""

    def booted() -> tuple[bytes, str]:
        boot = build(Case.parse(f"{small} topology=flat:3"))
        boot.machine.run()
        boot.machine.finish()
        machine = boot.machine
        memory = machine.memory.read_bytes(machine.memory.base, machine.memory.size)
        return hashlib.blake2b(memory).digest(), "\n".join(map(str, machine.trace.rows()))

    tried: list[bool] = []
    place = LoadedKernel.place

    def placed(self: LoadedKernel, machine: Machine, *, counted: bool = False) -> Guest:
        tried.append(counted)
        return place(self, machine, counted=counted)

    monkeypatch.setattr(LoadedKernel, "place", placed)
    fast = booted()
    monkeypatch.setattr("emu.host.primary._UNCOUNTED_SECONDS", 0.001)
    assert booted() == fast
    assert tried == [False, False, True]

"""What goes wrong on the way to C, and passed once, or ran on for ever: each bug and its repaired twin."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from programs import run_emu

_EXAMPLE = Path(__file__).parents[2] / "examples" / "my_boot.S"
_MMU_OFF, _MMU_ON = "my_found:\n", '#include "slot/slot_per_cpu.S"\n'
_ENTRY = '#include "boot/init_kernel_el.S"\n'
_DATA = "\n        .balign 64\nword:\n        .zero 64\nother:\n        .zero 64\n"
_LOCK = """
        adr_l   x9, word
take:
        ldaxr   w10, [x9]
        cbnz    w10, take
        mov     w11, #1
        stxr    w12, w11, [x9]
        cbnz    w12, take
        stlr    wzr, [x9]
"""


def text_with(added: str, place: str, *, old: str = "", new: str = "") -> str:
    """Return the example with ``added`` at a place, and ``old`` replaced by ``new``."""
    text = _EXAMPLE.read_text() + _DATA
    text = text.replace(place, place + added if place == _MMU_OFF else added + place)
    return text.replace(old, new) if old else text


def run(tmp_path: Path, text: str, command: str = "boot", *options: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the text."""
    path = tmp_path / "subject.S"
    path.write_text(text)
    return run_emu(command, str(path), *options)


RETURN = """
        adr     x8, back
        msr     elr_el1, x8
        mov     x8, #{spsr:#x}
        msr     spsr_el1, x8
        eret
back:
"""
STACKLESS = """
        adr     x8, my_vectors
        msr     vbar_el1, x8
        mov     x9, #0
        mov     sp, x9
        mov     x8, #8
        ldr     x8, [x8]
        b       after
        .balign 2048
my_vectors:
        .zero   512
        {entry}
        stp     x0, x1, [sp]
        b       .
after:
"""
WAIT_FOR = """
        adr_l   x8, word
        cmp     x19, #1
        b.eq    answer
wait:
        ldr     x9, [x8]
        cbz     x9, wait
        b       done
answer:
        mov     x9, #1
        {store}
done:
"""
_VA_TOO_EARLY = "        mov     x8, #-1\n        lsl     x8, x8, #48\n        ldr     x8, [x8]\n"
_STEPS = ("--grain", "operation")
# Name, what is added, where, options, what must be in the output.
BOOTS: list[tuple[str, str, str, Sequence[str], str]] = [
    ("illegal return", RETURN.format(spsr=0x3C9), _MMU_OFF, (), "takes an exception to EL1, ESR 0x3a000000"),
    ("return to AArch32", RETURN.format(spsr=0x1D3), _MMU_OFF, (), "ESR 0x3a000000"),
    ("register of EL3", "        mrs     x8, sctlr_el3\n", _MMU_OFF, (), "ESR 0x2000000"),
    ("branch to 0", "        mov     x8, #0\n        br      x8\n", _MMU_OFF, (), "ESR 0x86000010, FAR 0x0"),
    ("assertion", "        brk     #0x42\n", _MMU_OFF, (), "executes BRK #0x42, ESR 0xf2000042"),
    ("VA too early", _VA_TOO_EARLY, _MMU_OFF, (), "ESR 0x96000000, FAR 0xffff000000000000"),
    ("no stack", STACKLESS.format(entry="sub sp, sp, #0x150"), _MMU_OFF, (), "(misuse): CPU1 at PC"),
    ("endless wait", WAIT_FOR.format(store="nop"), _MMU_OFF, (), "spins for ever"),
    (
        "endless wait in small grains",
        WAIT_FOR.format(store="nop"),
        _MMU_OFF,
        ("--grain", "operation"),
        "spins",
    ),
    ("lock with the MMU off", _LOCK, _MMU_OFF, ("--memory", "caches"), "not Normal Write-Back"),
    ("lock with the MMU off, coherent", _LOCK, _MMU_OFF, (), "not Normal Write-Back"),
]
FINE: list[tuple[str, str, str, Sequence[str]]] = [
    ("legal return", RETURN.format(spsr=0x3C5), _MMU_OFF, ()),
    ("wait that ends", WAIT_FOR.format(store="str x9, [x8]"), _MMU_OFF, ()),
    (
        "wait that ends in small grains",
        WAIT_FOR.format(store="str x9, [x8]"),
        _MMU_OFF,
        ("--grain", "operation"),
    ),
    ("lock with the MMU on", _LOCK, _MMU_ON, ("--memory", "caches")),
    ("lock with the MMU on, coherent", _LOCK, _MMU_ON, ()),
]


@pytest.mark.parametrize(
    ("added", "place", "options", "told"), [each[1:] for each in BOOTS], ids=[each[0] for each in BOOTS]
)
def test_it_is_found(tmp_path: Path, added: str, place: str, options: Sequence[str], told: str) -> None:
    done = run(tmp_path, text_with(added, place), "boot", "-v", "--cpus", "3", *options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert told in done.stdout


@pytest.mark.parametrize(
    ("added", "place", "options"), [each[1:] for each in FINE], ids=[each[0] for each in FINE]
)
def test_its_repaired_twin_passes(tmp_path: Path, added: str, place: str, options: Sequence[str]) -> None:
    done = run(tmp_path, text_with(added, place), "boot", "--cpus", "3", *options)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", ["boot", "explore"])
def test_what_is_not_modelled_is_untestable(tmp_path: Path, command: str) -> None:
    """Never a finding, and named as the manual does."""
    text = text_with("        mrs     x8, s3_1_c15_c2_1\n", _MMU_OFF)
    done = run(tmp_path, text, command, "--cpus", "3")
    assert done.returncode == 125, done.stdout + done.stderr
    assert "CPUECTLR_EL1 (S3_1_C15_C2_1), which cortex-a72 has" in done.stdout + done.stderr


@pytest.mark.parametrize(("store", "status"), [("nop", 1), ("str x9, [x8]", 0)])
def test_an_exploration_ends_where_a_cpu_spins(tmp_path: Path, store: str, status: int) -> None:
    """Also the replay of what it finds, which is told with the place."""
    done = run(tmp_path, text_with(WAIT_FOR.format(store=store), _MMU_OFF), "explore", "--cpus", "3", "--all")
    assert done.returncode == status, done.stdout + done.stderr
    assert ("goes round for ever" in done.stdout) is bool(status)


_TRAPS_WFE = "        mov_q   x0, ((1 << 31) | (1 << 14))\n        msr     hcr_el2, x0\n"
_NO_TRAPS = "        mov_q   x0, (1 << 31)\n        msr     hcr_el2, x0\n"
_WAITS = """
        adr_l   x1, word
        cmp     x19, #1
        b.ne    wt_wait
        mov     x2, #1
        str     x2, [x1]
        dsb     ish
        sev
        b       wt_done
wt_wait:
        ldr     x2, [x1]
        cbnz    x2, wt_done
        wfe
        b       wt_wait
wt_done:
"""


@pytest.mark.parametrize(("hcr", "status"), [(_TRAPS_WFE, 1), (_NO_TRAPS, 0)])
def test_a_trap_that_returns_to_itself_is_found(tmp_path: Path, hcr: str, status: int) -> None:
    """A WFE is trapped to a hyp stub that knows nothing of it, and returns."""
    entry = (Path(__file__).parents[2] / "asm" / "boot" / "init_kernel_el.S").read_text()
    at = entry.index("msr     hcr_el2, x0\n") + len("msr     hcr_el2, x0\n")
    text = text_with(_WAITS, _MMU_ON, old=_ENTRY, new=entry[:at] + hcr + entry[at:])
    done = run(tmp_path, text, "explore", "--cpus", "3", "--el", "2", "--all")
    assert done.returncode == status, done.stdout + done.stderr
    assert ("again and again" in done.stdout) is bool(status)


@pytest.mark.parametrize("register", ["cnthctl_el2", "cntvoff_el2", "vttbr_el2"])
def test_a_register_of_el2_that_only_the_boot_cpu_sets_is_found(tmp_path: Path, register: str) -> None:
    entry = (Path(__file__).parents[2] / "asm" / "boot" / "init_kernel_el.S").read_text()
    (line,) = [each for each in entry.splitlines() if f"msr     {register}," in each]
    skipped = f"        mrs     x9, mpidr_el1\n        tst     x9, #0xff\n        b.ne    my_1\n{line}\nmy_1:"
    text = text_with("", _MMU_ON, old=_ENTRY, new=entry.replace(line, skipped))
    done = run(tmp_path, text, "boot", "--cpus", "3", "--el", "2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"CPU2 has {register.upper()}" in done.stdout
    assert run(tmp_path, text, "boot", "--cpus", "3").returncode == 0, "at EL1 it does not matter"


@pytest.mark.parametrize(
    ("register", "value", "status"),
    [
        ("CLIDR_EL1", 0x23, 1),
        ("CLIDR_EL1", 0xA20_0023, 0),  # the core's own
        ("CTR_EL0", 0x8443_C004, 1),  # lines of 32 bytes
        ("CTR_EL0", 0x8444_8004, 0),  # another policy of the instruction cache (L1Ip), which CPUs may have
        ("CCSIDR_EL1[0]", 0x700F_E01A, 0),  # which the kernel does not keep
    ],
)
def test_caches_unlike_the_boot_cpus_are_found(
    tmp_path: Path, register: str, value: int, status: int
) -> None:
    path = tmp_path / "t.json"
    path.write_text(f'{{"cpus": [{{"hwid": 0}}, {{"hwid": 1, "id_registers": {{"{register}": {value}}}}}]}}')
    done = run_emu("boot", "v3", "--topology", str(path))
    assert done.returncode == status, done.stdout + done.stderr
    assert (f"CPU1 has {register} {value:#x}; the boot CPU has " in done.stdout) is bool(status)


@pytest.mark.parametrize("design", ["v3", "mainline"])
def test_a_cpu_entered_at_the_wrong_level_comes_up_in_an_inconsistent_mode(design: str) -> None:
    for el in ("1", "2"):
        done = run_emu("boot", design, "--cpus", "3", "--fault", "1:wrong-el", "--el", el)
        assert done.returncode == 1
        assert "CPUs started in inconsistent modes" in done.stdout
        assert "3 of 3 CPUs online, 1 finding" in done.stdout


@pytest.mark.parametrize(
    ("fault", "options", "why"),
    [
        ("context-lost", (), "no secondary takes a context ID"),
        ("wrong-el", ("--conduit", "hvc"), "a hypervisor answers HVC"),
        ("e2h-res1", (), "CPUs are entered at EL1"),
    ],
)
def test_a_fault_that_changes_nothing_is_refused(fault: str, options: Sequence[str], why: str) -> None:
    options = (*options, "--cpu", "neoverse-n1")
    done = run_emu("boot", "v3", "--cpus", "3", "--fault", f"1:{fault}", *options)
    assert (done.returncode, why in done.stderr) == (2, True)


def test_a_register_that_is_alike_but_has_other_fields_with_e2h_is_told_so() -> None:
    """0x33ff does not trap FP without HCR_EL2.E2H, and traps it with: FPEN is 0 (Arm DDI 0487, CPTR_EL2)."""
    done = run_emu("boot", "v3", "--cpus", "2", "--el", "2", "--cpu", "max", "--fault", "1:e2h-res1")
    assert done.returncode == 1
    assert "CPU1 has CPTR_EL2 0x33ff, as the boot CPU has; its fields are" in done.stdout
    assert "CPU1 has SCTLR_EL2 0x30500800; the boot CPU has" in done.stdout

"""Code that is stored and executed: what lies between the two on which CPU, planted and mended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from booting import run
from programs import run_emu

_OWN = """/* A CPU patches a routine, which it may have called before.
 *
 * start: boot main
 * {mmu}
 */
main:   adr     x1, target
        {before}
        ldr     w2, new
        str     w2, [x1]
        {between}
        bl      target
        cmp     x0, #2
        b.ne    bad
good:   b       good
bad:    b       bad
        .balign 64
new:    mov     x0, #2
        .balign 64
target: mov     x0, #1
        ret
"""
_OTHER = """/* CPU0 patches a routine that CPU1 calls when it is told to.
 *
 * start: boot main
 * start: cpu1 other
 * mmu: on
 */
main:   adr     x1, target
        ldr     w2, new
        str     w2, [x1]
        {maintains}
        adr     x3, flag
        mov     x4, #1
        stlr    x4, [x3]
        sev
        b       .
other:  adr     x3, flag
        sevl
again:  wfe
        ldar    x4, [x3]
        cbz     x4, again
        {executes}
        bl      target
good:   b       good
        .balign 64
new:    mov     x0, #2
        .balign 64
flag:   .quad   0
        .balign 64
target: mov     x0, #1
        ret
"""
_ON, _OFF = "mmu: on", "the MMU is off"
_RIGHT = "dc cvau, x1; dsb ish; ic ivau, x1; dsb ish; isb"
_PLANTED = [
    (_ON, _RIGHT, None),
    (_ON, "dc civac, x1; dsb sy; ic iallu; dsb nsh; isb", None),
    (_ON, "nop", "not-cleaned"),
    (_ON, "ic ivau, x1; dsb ish; isb", "not-cleaned"),
    (_ON, "dc cvau, x1; dsb ish; isb", "not-invalidated"),
    (_ON, "dc cvau, x1; ic ivau, x1; dsb ish; isb", "not-ordered"),
    (_ON, "ic ivau, x1; dc cvau, x1; dsb ish; isb", "not-invalidated"),
    (_ON, "dc cvau, x1; dsb ish; ic ivau, x1; isb", "not-completed"),
    (_ON, "dc cvau, x1; dsb ish; ic ivau, x1; dsb ishst; isb", "not-completed"),
    (_ON, "dc cvau, x1; dsb ish; ic ivau, x1; dsb ish", "not-synchronised"),
    (_ON, "dc cvau, x1; dsb ish; add x5, x1, #64; ic ivau, x5; dsb ish; isb", "not-invalidated"),
    # A store with caches off is in memory at once.
    (_OFF, "dsb ish; ic ivau, x1; dsb ish; isb", None),
    (_OFF, "nop", "not-ordered"),
    (_OFF, "dsb ish; isb", "not-invalidated"),
]


def lines(text: str) -> str:
    """Return instructions of one line each."""
    return "\n        ".join(each.strip() for each in text.split(";"))


def whats(case: str) -> list[tuple[str, str, tuple[int, ...]]]:
    done = run(case, record=True)
    return [(finding.rule, finding.what, finding.cpus) for finding in done.verdict.findings]


@pytest.mark.parametrize("before", ["nop", "bl target"])
@pytest.mark.parametrize(("mmu", "between", "what"), _PLANTED)
def test_a_cpu_that_executes_what_it_has_stored_does_all_of_b2_4_4_between(
    tmp_path: Path, mmu: str, between: str, what: str | None, before: str
) -> None:
    path = tmp_path / "own.S"
    path.write_text(_OWN.format(mmu=mmu, before=before, between=lines(between)))
    expected = [("stored-code", what, (0,))] if what else []
    assert whats(f"{path} topology=flat:1") == expected
    assert whats(f"{path} topology=flat:1 memory=caches grain=instruction") == expected


@pytest.mark.parametrize(
    ("maintains", "executes", "what"),
    [
        (_RIGHT, "isb", None),
        ("dc cvau, x1; dsb ish; ic ialluis; dsb ish", "isb", None),
        ("dc cvau, x1; dsb ish", "ic iallu; dsb nsh; isb", None),
        (_RIGHT, "nop", "not-synchronised"),
        ("dc cvau, x1; dsb ish; ic iallu; dsb ish; isb", "isb", "not-invalidated"),
        ("dc cvau, x1; dsb ish; ic ivau, x1; dsb nsh", "isb", "not-completed"),
    ],
)
@pytest.mark.parametrize("options", ["", " memory=caches"])
def test_a_cpu_that_executes_what_another_has_stored_has_an_isb_of_its_own_behind_it(
    tmp_path: Path, maintains: str, executes: str, what: str | None, options: str
) -> None:
    path = tmp_path / "other.S"
    path.write_text(_OTHER.format(maintains=lines(maintains), executes=lines(executes)))
    assert whats(f"{path} topology=flat:2{options}") == ([("stored-code", what, (1,))] if what else [])


def test_a_cpu_that_is_switched_on_behind_the_store_has_nothing_in_its_instruction_cache(
    tmp_path: Path,
) -> None:
    text = _OTHER.replace("start: cpu1 other\n", "cpu1 is off\n").replace(
        "        sev\n",
        "        movz x0, #0xc400, lsl #16\n        movk x0, #3\n        mov x1, #1\n"
        "        adr x2, other\n        mov x3, #0\n        smc #0\n",
    )
    path = tmp_path / "on.S"
    path.write_text(text.format(maintains=lines("dc cvac, x1; dsb sy"), executes="nop"))
    assert whats(f"{path} topology=flat:2") == []
    path.write_text(text.format(maintains="dsb sy", executes="nop"))
    assert whats(f"{path} topology=flat:2") == [("stored-code", "not-cleaned", (1,))]


def test_data_beside_code_in_its_line_is_no_code(tmp_path: Path) -> None:
    text = _OWN.format(mmu=_ON, before="nop", between=lines("adr x3, flag; str x3, [x3, #4]; str w3, [x3]"))
    text = text.replace("        str     w2, [x1]\n", "").replace("cmp     x0, #2", "cmp x0, #1")
    path = tmp_path / "beside.S"
    path.write_text(f"{text}flag: .word 0, 0, 0\nbehind: b behind\n")
    assert whats(f"{path} topology=flat:1") == []


@pytest.mark.parametrize("word", ["wfe", "isb", "dsb sy", "mrs x0, cntvct_el0"])
def test_a_stored_word_that_is_itself_looked_at_is_code_too(tmp_path: Path, word: str) -> None:
    text = _OWN.format(mmu=_ON, before="sevl", between="nop").replace(
        "new:    mov     x0, #2", f"new: {word}"
    )
    path = tmp_path / "site.S"
    path.write_text(text)
    assert ("stored-code", "not-cleaned", (0,)) in whats(f"{path} topology=flat:1")


@pytest.mark.parametrize(("between", "status"), [("nop", 1), (_RIGHT, 0)])
def test_every_command_that_runs_it_tells_of_it(tmp_path: Path, between: str, status: int) -> None:
    (tmp_path / "own.S").write_text(_OWN.format(mmu=_ON, before="nop", between=lines(between)))
    said = "stored-code" if status else "pass"
    for command in ("boot own.S --cpus 1", "boot own.S --cpus 1 --json", "explore own.S --cpus 1"):
        done = run_emu(*command.split(), cwd=tmp_path)
        assert done.returncode == status, command
        assert said in done.stdout, command
    explored = done.stdout
    assert "not modelled: instruction caches" in explored
    case = next(line for line in explored.splitlines() if line.startswith("case: ")).removeprefix("case: ")
    if status:
        done = run_emu("replay", case, cwd=tmp_path)
        assert done.returncode == 1
        assert "stored-code" in done.stdout
    (tmp_path / "script").write_text("continue\nfindings\n")
    command = [sys.executable, "-m", "emu", "step", "own.S", "--cpus", "1", "--script", "script"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == status
    assert ("stored-code" in done.stdout) is bool(status)


_ALIASED = """/* A CPU maps 1 GiB twice, patches a routine by one mapping and maintains it by the other.
 *
 * start: boot main
 */
main:   adr     x10, table
        mov     x11, #0x40000000
        mov     x12, #0x701
        orr     x12, x12, x11
        str     x12, [x10, #8]
        str     x12, [x10, #16]
        mov     x12, #0xff
        msr     mair_el1, x12
        movz    x12, #0x0080, lsl #16
        movk    x12, #0x3519
        msr     tcr_el1, x12
        msr     ttbr0_el1, x10
        dsb     sy
        isb
        mrs     x12, sctlr_el1
        mov     x13, #0x1005
        orr     x12, x12, x13
        msr     sctlr_el1, x12
        isb
        adr     x1, target
        add     x6, x1, x11
        add     x7, x6, #0x1000
        {executes_by}
        ldr     w2, new
        str     w2, [x1]
        {between}
        blr     x9
good:   b       good
        .balign 64
new:    mov     x0, #2
        .balign 64
target: mov     x0, #1
        ret
        .balign 4096
table:  .zero   4096
"""
_BY = "dc cvau, {0}; dsb ish; ic ivau, {1}; dsb ish; isb"


@pytest.mark.parametrize("executes_by", ["mov x9, x1", "mov x9, x6"])
@pytest.mark.parametrize(
    ("clean", "invalidate", "what"),
    [
        ("x6", "x6", None),
        ("x1", "x6", None),
        ("x7", "x6", "not-cleaned"),  # the same offset of another page
        ("x6", "x7", "not-invalidated"),
    ],
)
@pytest.mark.parametrize("options", ["", " memory=caches grain=instruction"])
def test_maintenance_by_another_mapping_is_of_the_pa_that_it_maps_to(
    tmp_path: Path, clean: str, invalidate: str, what: str | None, executes_by: str, options: str
) -> None:
    path = tmp_path / "aliased.S"
    between = lines(_BY.format(clean, invalidate))
    path.write_text(_ALIASED.format(executes_by=executes_by, between=between))
    expected = [("stored-code", what, (0,))] if what else []
    assert whats(f"{path} topology=flat:1{options}") == expected

"""What a debugger says that an instruction refers to, held against what the engine does with it."""

from __future__ import annotations

import random

import pytest
from bare_pe import CODE, DATA, Bare, assemble

from emu.arch import a64, sysreg
from emu.arch.taken import condition_holds, is_taken
from emu.case import Case
from emu.cpu.stops import STEP_LIMIT
from emu.debug.commands import Commands
from emu.debug.operands import referred
from emu.debug.session import Session
from emu.host.build import build


def test_conditions_hold_as_the_engine_has_them() -> None:
    """Each condition with each value of the flags."""
    bare = Bare()
    pe = bare.pe()
    for condition in range(16):
        bare.words(0x5400_0040 | condition, 0xD503_201F, 0xD503_201F)
        bare.engine.forget_code()
        for flags in range(16):
            pe.pc, pe.nzcv = CODE, flags << 28
            assert bare.engine.step(pe) is STEP_LIMIT
            assert condition_holds(condition, flags << 28) is (pe.pc == CODE + 8), (condition, flags)


@pytest.mark.parametrize("seed", range(4))
def test_compare_and_test_branches_are_taken_as_the_engine_takes_them(seed: int) -> None:
    draw = random.Random(seed)
    bare = Bare()
    pe = bare.pe()
    for _ in range(60):
        wide, negated, register = draw.getrandbits(1), draw.getrandbits(1), draw.randrange(32)
        if draw.getrandbits(1):
            word = 0x3400_0040 | wide << 31 | negated << 24 | register
        else:
            word = 0x3600_0040 | wide << 31 | negated << 24 | draw.randrange(32) << 19 | register
        bare.words(word, 0xD503_201F, 0xD503_201F)
        bare.engine.forget_code()
        if register != 31:
            pe.x[register] = draw.choice((0, 1 << 32, draw.getrandbits(64)))
        pe.pc = CODE
        expected = is_taken(word, list(pe.x), pe.nzcv)
        assert bare.engine.step(pe) is STEP_LIMIT
        assert expected is (pe.pc == CODE + 8), hex(word)
    assert is_taken(0xD503_201F, [0] * 32, 0) is None


def made(text: str) -> tuple[Bare, int, list[int | None]]:
    """Run a text to its last instruction; X0 then, and what each of its words is said to refer to."""
    code = assemble(text + "\n b .")
    bare = Bare()
    bare.memory.write_bytes(CODE, code)
    pe = bare.pe()
    bare.engine.run(pe, len(code) // 4 - 1)

    def word(va: int) -> int | None:
        return bare.memory.read(va, 4) if CODE <= va < CODE + len(code) else None

    return bare, pe.x[0], [referred(word, CODE + at) for at in range(0, len(code), 4)]


def test_an_adrp_and_what_is_behind_it_refer_to_what_the_engine_makes() -> None:
    _, x0, found = made(f"adrp x0, {DATA:#x}\n add x0, x0, #0x128")
    assert (x0, found) == (DATA + 0x128, [DATA + 0x128, DATA + 0x128, None])
    _, x0, found = made(f"adrp x0, {DATA:#x}\n add x1, x2, #0x128")
    assert (x0, found) == (DATA, [DATA, None, None]), "another register: the page alone"
    _, _, found = made(f"adrp x3, {DATA:#x}\n ldr w0, [x3, #0x44]")
    assert found == [DATA + 0x44, DATA + 0x44, None]
    _, x0, _ = made("adrp x0, 0x40000000")
    assert a64.pc_relative(int.from_bytes(assemble("adrp x0, 0x40000000")[:4], "little"), CODE) == x0


def at(place: str, cpu: int = 1, **options: object) -> Commands:
    case = Case("v3", topology="flat:4", grain="instruction", **options)  # type: ignore[arg-type]
    commands = Commands(Session(build(case)))
    commands.run(f"until {place} cpu {cpu}")
    return commands


def test_the_next_access_is_told_with_its_address_name_and_value() -> None:
    commands = at("scan")
    assert commands.run("where")[0].endswith("  ; [0x40202100 __cpu_logical_map[0]] is 0x0")
    assert commands.run("disas scan 1")[0].endswith("  ; [0x40202100 __cpu_logical_map[0]] is 0x0")
    commands.run("set x19 = 2")
    assert commands.run("where")[0].endswith("  ; [0x40202110 __cpu_logical_map[2]] is 0x2")
    commands.run("set x1 = 0")
    assert commands.run("where")[0].endswith("  ; [0x10], no memory there")
    assert ";" not in commands.run("disas scan 3 ")[1]


def test_the_next_branch_is_told_as_taken_or_not_and_a_register_with_its_value() -> None:
    commands = at("find")
    assert commands.run("where")[0].endswith("mrs x0, mpidr_el1  ; MPIDR_EL1 is 0x80000001")
    commands.run("until scan+8 cpu 1")
    assert commands.run("where")[0].endswith("b.eq next  ; not taken")
    commands.run("set nzcv = 0x40000000")
    assert commands.run("where")[0].endswith("b.eq next  ; taken")
    pe = commands.session.pe(1)
    pe.set_system_register(sysreg.ELR_EL1, commands.session.places.instruction("secondary_entry"))
    for word, said in ((0xD65F_03C0, "find"), (0xD63F_0060, "scan"), (0xD69F_03E0, "secondary_entry")):
        commands.run(f"set u32[pc] = {word:#x}")
        commands.run("set x30 = find - secondary_holding_pen + 0x40200000")
        commands.run("set x3 = scan - secondary_holding_pen + 0x40200000")
        assert commands.run("where")[0].endswith(f" {said}"), hex(word)

"""What every core keeps to: boots come up, ID registers say what is there, and the rest is UNDEFINED."""

from __future__ import annotations

from pathlib import Path

import pytest
from bare_pe import BASE, CODE, DATA, SIZE
from booting import run

from emu.arch import sysreg
from emu.cpu.cores import CORES, DEFAULT, core_of
from emu.cpu.engine import Engine
from emu.cpu.factory import make_engine
from emu.cpu.interconnect import LocalInterconnect
from emu.cpu.pe import PE
from emu.cpu.stops import EngineStop, Raised, SelfBranch
from emu.memory import Memory

every_core = pytest.mark.parametrize("name", CORES)
UNDEFINED = Raised(1 << 25, None, 1, CODE)
B_SELF = 0x1400_0000
# A word of each feature that is an instruction of its own.
WORDS = {
    "FEAT_LSE": 0xF820_0041,  # ldadd x0, x1, [x2]
    "FEAT_LRCPC": 0xF8BF_C041,  # ldapr x1, [x2]
    "FEAT_PAN2": 0xD500_419F,  # msr pan, #1
    "FEAT_UAO": 0xD500_417F,  # msr uao, #1
    "FEAT_PAuth": 0xDAC1_0041,  # pacia x1, x2
}
HALF_PRECISION = (0x6E4D_0F12, 0x0E79_EB05)  # words that end the process where the engine has half precision
OF_FEATURES = {
    "FEAT_LOR": (3, 0, 10, 4, 3),
    "FEAT_PAuth": (3, 0, 2, 1, 0),
    "FEAT_SVE": (3, 0, 1, 2, 0),
    "FEAT_RNG": (3, 3, 2, 4, 0),
}


def made(*names: str) -> tuple[Engine, Memory, list[PE]]:
    """An engine with a PE of each of these cores, at EL1, with SIMD enabled."""
    memory = Memory(BASE, SIZE)
    engine = make_engine(memory, LocalInterconnect(), [CORES[name] for name in names])
    pes = []
    for index, name in enumerate(names):
        pes.append(engine.new_pe(index, 0x8000_0000 | index, CORES[name].midr, 1))
    engine.observe(record=False)
    return engine, memory, pes


def done(engine: Engine, memory: Memory, pe: PE, word: int) -> EngineStop:
    """What the word, and a branch to itself behind it, stop with."""
    memory.write_bytes(CODE, word.to_bytes(4, "little") + B_SELF.to_bytes(4, "little"))
    engine.forget_code()
    engine.reset(pe, 1, CODE, 0)
    pe.set_system_register(sysreg.CPACR_EL1, 3 << 20)
    pe.x[2] = DATA
    return engine.run(pe, 10)


@every_core
@pytest.mark.parametrize("el", [1, 2])
@pytest.mark.parametrize("design", ["v3", "mainline"])
def test_every_cpu_comes_up(name: str, el: int, design: str) -> None:
    boot = run(f"{design} topology=flat:4 cpu={name} el={el}")
    assert (boot.outcomes, boot.messages) == (["online"] * 4, [])


@every_core
def test_it_is_found_by_its_midr_in_any_revision(name: str) -> None:
    core = CORES[name]
    assert core_of(core.midr) is core_of(core.midr ^ 0x0010_0003) is core
    assert core_of(0x4200_0000) is DEFAULT, "an unknown part is an A72 by another name"


@every_core
def test_id_registers_read_as_it_says(name: str) -> None:
    engine, memory, (pe,) = made(name)
    core = CORES[name]
    space = [(3, 0, 0, crm, op2) for crm in range(1, 8) for op2 in range(8)]
    for encoding in (*space, sysreg.CLIDR_EL1, sysreg.CTR_EL0):
        value = core.id_register(encoding)
        op0, op1, crn, crm, op2 = encoding
        fields = op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5
        assert done(engine, memory, pe, 0xD520_0001 | fields) == SelfBranch(CODE + 4)
        if value is not None:
            assert pe.x[1] == value, sysreg.name(encoding)


@every_core
@pytest.mark.parametrize("feature", WORDS)
def test_instructions_are_there_with_their_feature_alone(name: str, feature: str) -> None:
    engine, memory, (pe,) = made(name)
    stop = done(engine, memory, pe, WORDS[feature])
    assert stop == (SelfBranch(CODE + 4) if CORES[name].has(feature) else UNDEFINED)


@every_core
@pytest.mark.parametrize("feature", OF_FEATURES)
def test_registers_are_there_with_their_feature_alone(name: str, feature: str) -> None:
    engine, memory, (pe,) = made(name)
    op0, op1, crn, crm, op2 = OF_FEATURES[feature]
    word = 0xD520_0001 | op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5
    stop = done(engine, memory, pe, word)
    assert stop == (SelfBranch(CODE + 4) if CORES[name].has(feature) else UNDEFINED)


@every_core
@pytest.mark.parametrize("word", HALF_PRECISION)
def test_no_word_ends_the_process(name: str, word: int) -> None:
    engine, memory, (pe,) = made(name)
    assert done(engine, memory, pe, word) == UNDEFINED


def test_cores_of_one_machine_have_their_own_features() -> None:
    engine, memory, (first, second) = made("cortex-a72", "neoverse-n1")
    for _ in range(3):
        assert done(engine, memory, first, WORDS["FEAT_LSE"]) == UNDEFINED
        assert done(engine, memory, second, WORDS["FEAT_LSE"]) == SelfBranch(CODE + 4)


def test_a_topology_may_mix_them(tmp_path: Path) -> None:
    path = f"{tmp_path}/mixed.json"
    cpus = ", ".join(f'{{"hwid": {n}, "midr": "{core.midr:#x}"}}' for n, core in enumerate(CORES.values()))
    with open(path, "w") as file:
        file.write(f'{{"cpus": [{cpus}]}}')
    boot = run(f"v3 topology={path}")
    assert (boot.outcomes, boot.messages) == (["online"] * len(CORES), [])

"""Exceptions that a whole machine takes: calls that nobody answers, vectors without code."""

from __future__ import annotations

from pathlib import Path

import pytest
from bare_pe import BASE, CODE, SIZE, VECTORS, assemble
from programs import run_emu

from emu.cpu.factory import make_engine
from emu.machine import Machine
from emu.memory import Memory
from emu.operation import Kind
from emu.report.words import outcome_words
from emu.schedulers import make_scheduler
from emu.trace import Trace


def machine_with(text: str, *, el: int = 1, at: int = CODE) -> Machine:
    memory = Memory(BASE, SIZE)
    memory.write_bytes(at, assemble(text, at))
    machine = Machine(
        memory, make_scheduler("round-robin"), Trace("t"), make_engine, record=True, instructions_max=100_000
    )
    machine.entry_el = el
    machine.add_cpu(0x8000_0000, 0x410F_D083, {})
    machine.power_on(0, at, 0)
    return machine


def exceptions(machine: Machine) -> list[tuple[int, int, int]]:
    return [(r.value >> 26, r.pc, r.size) for r in machine.trace if r.kind is Kind.EXCEPTION]


@pytest.mark.parametrize("text", ["smc #0", "hvc #0"])
def test_a_call_that_no_firmware_takes_is_undefined(text: str) -> None:
    """DDI 0487 C6.2 SMC, HVC: UNDEFINED without EL3, without EL2: EC 0, ELR its own address."""
    machine = machine_with(f"ldr x0, ={VECTORS:#x}\n msr vbar_el1, x0\n {text}\n b .")
    machine.memory.write(VECTORS + 0x200, 4, 0x1400_0000)
    machine.run()
    assert exceptions(machine) == [(0, CODE + 8, 1)]
    assert machine.actors[0].pe.counters.instructions == 2
    assert "branches to itself" in outcome_words(machine.outcome(0))


def test_hvc_at_el2_is_taken_at_el2() -> None:
    """DDI 0487 C6.2 HVC: from EL2 to EL2, current EL with SP_EL2: offset 0x200."""
    machine = machine_with(f"ldr x0, ={VECTORS:#x}\n msr vbar_el2, x0\n hvc #3\n b .", el=2)
    machine.memory.write(VECTORS + 0x200, 4, 0x1400_0000)
    machine.run()
    assert exceptions(machine) == [(0x16, CODE + 12, 2)]
    assert machine.actors[0].pe.pc == VECTORS + 0x200


@pytest.mark.parametrize(
    ("vbar", "why"),
    [
        (0, "no code at its exception vector"),  # nobody answers
        (BASE + 0x100_0000, "no code at its exception vector"),
        (VECTORS, "no code at its exception vector"),  # zeroes
        (VECTORS + 1, "exception vector"),  # misaligned
    ],
)
@pytest.mark.parametrize("text", ["svc #0", ".word 0", "brk #1", "msr spsel, #0\n .word 0", "br x20"])
def test_a_pe_without_vectors_ends(text: str, vbar: int, why: str) -> None:
    """DDI 0487 D1.3.2: the vector's own first instruction faults for ever; that is an end, not a hang."""
    machine = machine_with(f"ldr x0, ={vbar:#x}\n msr vbar_el1, x0\n mov x20, #0\n {text}\n b .")
    machine.run()
    assert why in outcome_words(machine.outcome(0))
    assert not machine.stopped
    assert len(exceptions(machine)) <= 3


@pytest.mark.parametrize("handler", [0xD420_0000, 0xF940_0000])
def test_a_handler_whose_first_instruction_faults_ends(handler: int) -> None:
    """BRK, or a load from nowhere, at the vector: the same exception for ever."""
    machine = machine_with(f"ldr x1, ={VECTORS:#x}\n msr vbar_el1, x1\n mov x0, #0\n svc #0\n b .")
    machine.memory.write(VECTORS + 0x200, 4, handler)
    machine.run()
    assert "exception vector" in outcome_words(machine.outcome(0))
    assert len(exceptions(machine)) <= 3


def test_an_svc_right_before_its_vector_is_no_loop() -> None:
    """Its preferred return is the vector, where code runs."""
    at = VECTORS + 0x200 - 4
    machine = machine_with(f"ldr x0, ={VECTORS:#x}\n msr vbar_el1, x0\n b {at - CODE - 8:#x}")
    machine.memory.write(CODE + 8, 4, 0x1400_0000 | (at - CODE - 8) >> 2 & 0x3FF_FFFF)
    machine.memory.write(at, 4, 0xD400_0001)  # svc #0
    machine.memory.write(VECTORS + 0x200, 4, 0x1400_0000)
    machine.run()
    assert "branches to itself" in outcome_words(machine.outcome(0))


@pytest.mark.parametrize(
    ("access", "cpu", "what"),
    [
        ("mrs x8, s3_0_c5_c3_0", "neoverse-n1", "read of ERRIDR_EL1"),
        ("msr s3_0_c12_c1_1, xzr", "neoverse-n1", "write to DISR_EL1"),
        ("mrs x8, s3_0_c9_c10_7", "neoverse-n1", "read of PMBIDR_EL1"),
        ("msr s3_3_c4_c2_6, xzr", "neoverse-n1", "write to SSBS"),
        ("mrs x8, s3_0_c5_c3_0", "cortex-a72", ""),  # which has none of them
        ("mrs x8, s3_4_c12_c1_1", "neoverse-n1", ""),  # VDISR_EL2 at EL1
    ],
)
def test_a_register_of_a_feature_that_the_core_has_and_emu_does_not_is_untestable(
    tmp_path: Path, access: str, cpu: str, what: str
) -> None:
    path = tmp_path / "feature.S"
    text = "/* once - accesses a register\n *\n * start: boot main\n */\nmain:   {}\nhere:   b here\n"
    path.write_text(text.format(access))
    done = run_emu("boot", str(path), "--cpu", cpu)
    assert (done.returncode == 125) == bool(what)
    assert (f"not modelled: {what}" if what else "no code at its exception vector") in done.stdout

"""What a debugger changes: it is there, and it is there again after time travel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from travelling import watch

from emu.arch import sysreg
from emu.case import Case
from emu.debug.checkpoints import Checkpoints, Travelled
from emu.debug.edits import NZCV, PC, Edit
from emu.debug.session import Session
from emu.debug.stops import Others
from emu.host.build import build


def test_memory_registers_and_flags_are_changed() -> None:
    debugged = Session(build(Case.parse("v3 topology=flat:4")))
    debugged.add_breakpoint("find", cpu=1)
    debugged.go_on()
    pa, _ = debugged.places.data("cpu_boot_data[1].task")
    debugged.edit(Edit(pa, bytes(range(8))))
    debugged.edit(Edit(5, (77).to_bytes(8, "little"), cpu=1))
    debugged.edit(Edit(NZCV, (0xA000_0000).to_bytes(4, "little"), cpu=1))
    assert debugged.loads.memory(pa, 8) == bytes(range(8))
    assert debugged.pe(1).x[5] == 77
    assert debugged.pe(1).nzcv == 0xA000_0000


def test_an_instruction_that_is_changed_is_run_as_it_is_now() -> None:
    debugged = Session(build(Case.parse("v3 topology=flat:2")))
    debugged.add_breakpoint("find", cpu=1)
    debugged.go_on()
    pe = debugged.pe(1)
    debugged.edit(Edit(debugged.places.pa(pe.pc), (0xD2800EC0).to_bytes(4, "little")))  # mov x0, #0x76
    debugged.step(1)
    assert pe.x[0] == 0x76


def test_edits_come_along_through_time() -> None:
    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        debugged = Session(build(Case.parse("v3 topology=flat:4")), checkpoints)

        def state() -> list[Any]:
            return [debugged.position, *debugged.pe(2).x, debugged.pe(2).pc]

        try:
            debugged.begin()
            debugged.add_breakpoint("find", cpu=2)
            debugged.go_on()
            debugged.edit(Edit(7, b"\x11" * 8, cpu=2))
            debugged.edit(Edit(PC, (debugged.pe(2).pc + 4).to_bytes(8, "little"), cpu=2))
            changed = state()
            for _ in range(5):
                debugged.step(2)
            debugged.go_back(changed[0] - 3, [changed, state()])
        except Travelled as back:
            changed, later = debugged.arrive(back.target, back.payload)
            tell(debugged.pe(2).x[7] != int.from_bytes(b"\x11" * 8, "little"))
            debugged.run_to(later[0])
            tell(state() == later)

    assert watch(debugger) == [True, True]


def test_an_edit_of_a_system_register_comes_along_through_time_and_does_what_an_msr_does() -> None:
    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        debugged = Session(build(Case.parse("v3 topology=flat:4")), checkpoints)

        def state() -> list[int]:
            pe = debugged.pe(2)
            return [debugged.position, pe.sysreg(sysreg.VBAR_EL1), pe.system_register(sysreg.TPIDR_EL1)]

        try:
            debugged.begin()
            debugged.add_breakpoint("find", cpu=2)
            debugged.go_on()
            debugged.edit(Edit(0, (0x4000_0800).to_bytes(8, "little"), 2, sysreg.VBAR_EL1))
            debugged.edit(Edit(0, (77).to_bytes(8, "little"), 2, sysreg.TPIDR_EL1))
            changed = state()
            for _ in range(5):
                debugged.step(2)
            debugged.go_back(changed[0] - 3, [changed, state()])
        except Travelled as back:
            changed, later = debugged.arrive(back.target, back.payload)
            tell(state()[1:] != changed[1:])
            debugged.run_to(changed[0])
            debugged.run_to(later[0])
            tell(state() == later)

    assert watch(debugger) == [True, True]


def test_a_step_that_comes_to_the_position_of_a_change_ends_with_it() -> None:
    """As it was when it was made: not only from the next step on."""

    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        debugged = Session(build(Case.parse("v3 topology=flat:4")), checkpoints)
        try:
            debugged.begin()
            debugged.add_breakpoint("find", cpu=2)
            debugged.go_on()
            debugged.settings.others = Others.STAND
            debugged.step(2)
            debugged.edit(Edit(7, b"\x11" * 8, cpu=2))
            debugged.go_back(debugged.position - 1, debugged.position)
        except Travelled as back:
            position = debugged.arrive(back.target, back.payload)
            tell(debugged.pe(2).x[7] == 0x1111_1111_1111_1111)
            debugged.settings.breakpoints.clear()
            debugged.step(2)
            tell((debugged.position, debugged.pe(2).x[7]) == (position, 0x1111_1111_1111_1111))

    assert watch(debugger) == [False, True]

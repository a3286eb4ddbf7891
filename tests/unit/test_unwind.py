"""Where the return address is, at each instruction: against the calls and returns that were executed."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import pytest
from nested_lookup import write_nested

from emu.arch import a64
from emu.case import Case
from emu.debug.frames import backtrace
from emu.debug.session import Session
from emu.debug.unwind import Row, Unwinding, after
from emu.host.build import build
from emu.operation import Kind
from emu.subject import Segment, Subject
from emu.subject.symbols import Symbols

_CASES = (
    "v3 topology=flat:2",
    "v2 topology=flat:2 el=2 enable-method=spin-table",
    "mainline topology=flat:2 enable-method=parking-protocol",
    "rfc topology=flat:2 el=2",
    "context-id topology=flat:2 fault=1:no-granule",
    "v3 topology=flat:2 el=2 fault=1:no-52bit-va",
)


_TAKEN = -1  # in place of a return address: an exception, whose handler has none in X30


def unwound(debugged: Session) -> tuple[int, int]:
    """Step to the end; at each step of a PE its backtrace is that of the calls that were executed.

    :return: the most functions that a CPU was in, and how many steps had more than one
    """
    calls: dict[int, list[int]] = {cpu: [] for cpu in debugged.cpus}
    deepest = nested = 0
    before: dict[int, tuple[int, int]] = {}
    while True:
        for cpu in debugged.cpus:
            actor, stack = debugged.machine.actors[cpu], calls[cpu]
            pc = actor.pe.pc
            if actor.task is not None or debugged.state(cpu) == "off":
                continue
            if cpu in before and before[cpu][0] != pc:
                at, word = before[cpu]
                if a64.is_call(word):
                    stack.append(at + 4)
                elif a64.classify(word) is Kind.CALL and pc != at + 4:
                    stack.append(_TAKEN)
                elif stack and stack[-1] in (pc, _TAKEN if a64.classify(word) is a64.Other.ERET else pc):
                    stack.pop()
            before[cpu] = pc, debugged.places.word(debugged.places.pa(pc)) or 0
            inner = [*takewhile(lambda each: each != _TAKEN, stack[::-1])]
            assert backtrace(debugged, cpu, 9) == [pc, *inner], (debugged.places.describe(pc), stack)
            deepest, nested = max(deepest, len(inner) + 1), nested + bool(inner)
        if debugged.run_to(debugged.position + 1).reason == "end":
            return deepest, nested


@pytest.mark.parametrize("text", _CASES)
def test_the_functions_of_a_design_are_those_that_have_called(text: str) -> None:
    deepest, nested = unwound(Session(build(Case.parse(text))))
    assert deepest == 2
    assert nested > 10


def test_functions_that_call_are_unwound_by_register_record_and_slot(tmp_path: Path) -> None:
    debugged = Session(build(Case.parse(f"{write_nested(tmp_path)} topology=flat:2")))
    assert unwound(debugged)[0] == 5, "my_table, my_scan, my_find, my_lookup, secondary_startup"


def unwinding(*words: int, function: int = 0) -> Unwinding:
    """Of code that begins at secondary_entry, PA 0x1000; a function may have a symbol at another PA."""
    data = b"".join(word.to_bytes(4, "little") for word in words)
    rows = {"secondary_entry": (1 << 63) + 0x1000}
    if function:
        rows["function"] = (1 << 63) + function
    return Unwinding(Subject("test", "0", (Segment(0x1000, data, 0),), Symbols.of(rows), 1 << 63))


_NOP, _RET, _BL_8, _BL_4 = 0xD503_201F, 0xD65F_03C0, 0x9400_0002, 0x9400_0001
_CBZ_X0_8 = 0xB400_0040
_MOV_X5_X30, _MOV_X30_X5, _MOV_X30_0 = 0xAA1E_03E5, 0xAA05_03FE, 0xD280_001E
_STP, _LDP = 0xA9BE_7BFD, 0xA8C2_7BFD  # X29, X30, [SP, #-32]! and [SP], #32
_STP_19 = 0xA901_53F3  # X19, X20, [SP, #16]
_MOV_X19_0, _MOV_X29_SP, _MOV_SP_X1, _MOV_SP_X29 = 0xD280_0013, 0x9100_03FD, 0x9100_003F, 0x9100_03BF
_STR_XZR_8 = 0xF900_07FF  # XZR, [SP, #8]


def rows(*words: int) -> list[Row]:
    """Those behind each instruction of a function that a BL has led to."""
    found = [Row(0, None, 1 << 30, frozenset(), 0)]
    for word in words:
        found.append(after(found[-1], word))
    return found


def links(*words: int) -> list[tuple[str, int]]:
    return [row.where(30) for row in rows(*words)]


def test_a_frame_record_has_the_return_address_until_it_is_popped() -> None:
    found = rows(_STP, _MOV_X29_SP, _BL_4, _LDP)
    assert [row.base for row in found] == [(31, 0), (31, 32), (31, 32), (31, 32), (31, 0)]
    assert [row.where(30) for row in found] == [("same", 0)] * 3 + [("slot", -24), ("same", 0)]
    assert [row.where(29) for row in found] == [("same", 0)] * 2 + [("slot", -32)] * 2 + [("same", 0)]


def test_x30_is_kept_in_a_register_as_long_as_that_is_not_written() -> None:
    kept = ("register", 5)
    assert links(_MOV_X5_X30, _BL_4, _MOV_X30_X5) == [("same", 0), ("same", 0), kept, ("same", 0)]
    assert links(_MOV_X5_X30, _BL_4, _MOV_X30_X5 & ~0x1F0000 | 6 << 16)[-1] == kept, "x6 is another"
    assert links(_MOV_X5_X30, _BL_4, 0xD280_0005)[-1] == ("undefined", 0)


@pytest.mark.parametrize("word", [_BL_4, 0xD63F_0000, _MOV_X30_0, 0xF940_003E])
def test_x30_is_nowhere_once_it_is_written(word: int) -> None:
    """BL, BLR, MOV, LDR."""
    assert links(word)[-1] == ("undefined", 0)


def test_a_return_goes_by_its_register() -> None:
    returns = {_RET: 30, 0xD65F_00A0: 5, 0xD65F_0BFF: 30, 0xD65F_0FFF: 30, 0xD61F_03C0: None, _NOP: None}
    assert {word: a64.returns_by(word) for word in returns} == returns


def test_a_saved_register_comes_back_and_one_that_is_written_is_lost() -> None:
    saved = rows(_STP, _STP_19, _MOV_X19_0)[-1]
    assert (saved.where(19), saved.where(20), saved.where(21)) == (("slot", -16), ("same", 0), ("same", 0))
    assert rows(_MOV_X19_0)[-1].where(19) == ("undefined", 0)
    assert rows(_MOV_X19_0, _STP, _STP_19)[-1].where(19) == ("undefined", 0), "too late"


def test_a_slot_that_is_written_over_or_popped_holds_nothing() -> None:
    assert links(_STP, _STR_XZR_8, _BL_4)[-1] == ("undefined", 0)
    assert links(_STP, 0x9100_83FF, _BL_4)[-1] == ("undefined", 0)  # ADD SP, SP, #32


def test_another_stack_has_nothing_of_the_frame_unless_x29_leads_back() -> None:
    assert links(_STP, _MOV_SP_X1, _BL_4)[-1] == ("undefined", 0)
    found = rows(_STP, _MOV_X29_SP, _MOV_SP_X1, _BL_4, _MOV_SP_X29)
    assert [row.base for row in found[3:]] == [(29, 32), (29, 32), (31, 32)]
    assert found[-1].where(30) == ("slot", -24)


def test_where_two_ways_meet_holds_what_holds_on_both() -> None:
    """A function whose X30 one way has kept and the other has not."""
    made = unwinding(_BL_8, _NOP, _CBZ_X0_8, _MOV_X30_0, _NOP, _RET)
    assert made.rows[0x1000].where(30) == ("undefined", 0), "nobody has called where a CPU starts"
    assert made.rows[0x1008].where(30) == made.rows[0x100C].where(30) == ("undefined", 0)
    made = unwinding(0x9400_0003, _NOP, _RET, _CBZ_X0_8, _MOV_X30_0, _NOP, _RET)
    assert made.rows[0x1010].where(30) == ("same", 0)
    assert made.rows[0x1014].where(30) == ("undefined", 0)


def test_the_caller_is_asked_for_behind_its_call_and_only_there() -> None:
    made = unwinding(0x9400_0003, _NOP, _RET, _MOV_X5_X30, _BL_4, _RET)
    assert made.row(0x1010, called=False) == made.rows[0x1010]
    behind = made.row(0x1014, called=True)
    assert behind is not None
    assert behind.where(30) == ("register", 5)
    assert made.row(0x1010, called=True) is None, "no call is before it"
    assert made.row(0x9000, called=False) is None


_ADR_X1_12, _BLR_X1, _BR_X1, _B_SELF = 0x1000_0061, 0xD63F_0020, 0xD61F_0020, 0x1400_0000


@pytest.mark.parametrize(
    ("way", "last", "where"),
    [(_BLR_X1, _RET, ("same", 0)), (_BR_X1, _B_SELF, ("undefined", 0)), (_BLR_X1, _B_SELF, ("undefined", 0))],
)
def test_a_function_that_an_address_leads_to_is_called_when_it_returns(
    way: int, last: int, where: tuple[str, int]
) -> None:
    """What a branch to a register goes to is not known; a function that returns by its X30 was called."""
    made = unwinding(_ADR_X1_12, way, _B_SELF, _NOP, last, function=0x100C)
    assert made.rows[0x100C].where(30) == where
    assert 0x100C not in unwinding(_ADR_X1_12, way, _B_SELF, _NOP, last).rows, "no symbol is there: data"

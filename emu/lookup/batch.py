"""A lookup asked thousands of questions in one engine entry, at the speed of translated code.

The exits are overwritten with branches into the driver (:mod:`emu.lookup.driver`), which is what makes it
fast. Reads of MPIDR_EL1 become reads of what the driver writes, a register that the code does not name or
TPIDRRO_EL0, and what has no effect becomes NOP. The code can store to its stack only. A question that reaches
no exit, or gets a wrong answer, is asked again by :class:`emu.lookup.single.Single`: the batch finds, the
single run judges.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence

from emu.cpu.factory import make_engine
from emu.cpu.interconnect import LocalInterconnect
from emu.cpu.stops import EngineStop, SelfBranch, StepLimit, Waiting
from emu.lookup.driver import MRS_MPIDR, MRS_MPIDR_MASK, Driver, Places
from emu.lookup.endless import goes_on
from emu.lookup.starts import STARTS
from emu.lookup.target import PAGE, RETURN_PA, Target
from emu.lookup.without_effect import NOP, without_effect

QUESTIONS_MAX = 1 << 16
# Host time after which a batch may hang: a constant, plus the time that its instructions take on a host
# several times slower. To be wrong costs time alone: the question that it stands at is asked again, counted.
_SECONDS, _SECONDS_MAX, _INSTRUCTIONS_PER_SECOND = 0.05, 5.0, 100e6
_OF_DRIVER = 1000  # instructions of the driver to a question, at most
_COUNTED = 200_000  # instructions between two looks at whether another question is answered: some ms
_HANGS_MAX = 4  # questions of a batch that hang before the rest is left out, where a hang may be right
_NONE = 0xFEDC_BA98_7654_3210  # what is right where no entry matches: no logical id


class Batch:
    """One lookup in an engine of its own, with a driver around it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        memory = self._memory = target.memory()
        contract = target.contract
        driver_pa = (target.stack_top + 2 * PAGE) & -PAGE
        self._cells_pa = driver_pa + PAGE
        self._questions_pa = self._cells_pa + PAGE
        self._answers_pa = self._questions_pa + 8 * QUESTIONS_MAX
        self._wrong_pa = self._answers_pa + 8 * QUESTIONS_MAX
        driver = Driver(target, Places(driver_pa, self._cells_pa, 8 * QUESTIONS_MAX))
        assert len(driver.code) <= PAGE
        memory.write_bytes(driver_pa, driver.code)
        self._driver = driver
        self._patch(driver)
        self._engine = make_engine(memory, LocalInterconnect())
        self._pe = self._engine.new_pe(0, 1 << 31, 0x410F_D083, contract.el)
        self._protect(driver_pa)
        self._hangs = False  # whether a question has hung
        # Whether reaching no exit may be the right answer.
        self._may_park = contract.parks or contract.missing is None
        self._none = _NONE if contract.missing_index is None else contract.missing_index
        self.unasked = 0  # questions of the last batch that were left out because the code hangs

    def _patch(self, driver: Driver) -> None:
        memory, target = self._memory, self.target
        if target.contract.mpidr == "mpidr_el1":
            for segment in target.subject.segments:
                self._patch_mrs(segment.pa, segment.data)
        for pa in without_effect([(segment.pa, segment.data) for segment in target.subject.segments]):
            memory.write(pa, 4, NOP)
        exits = {target.found_pa: driver.found_pa}
        if target.missing_pa is not None:
            exits[target.missing_pa] = driver.missing_pa
        for pa, to in exits.items():
            memory.write(pa, 4, 0x1400_0000 | (to - pa) >> 2 & 0x3FF_FFFF)

    def _patch_mrs(self, pa: int, data: bytes) -> None:
        words = memoryview(data[: len(data) & -4]).cast("I")
        low = MRS_MPIDR.to_bytes(4, "little")[1:]
        at = data.find(low)
        while at >= 0:
            word = words[at >> 2] if at - 1 & 3 == 0 and at >> 2 < len(words) else 0
            if word & MRS_MPIDR_MASK == MRS_MPIDR:
                self._memory.write(pa + at - 1, 4, self._driver.patched(word))
            at = data.find(low, at + 1)

    def _protect(self, driver_pa: int) -> None:
        engine, memory, target = self._engine, self._memory, self.target
        engine.protect(memory.base, memory.size, read=False, write=False, execute=False)
        if RETURN_PA in (target.found_pa,):
            engine.protect(RETURN_PA, PAGE, read=False, write=False, execute=True)
        for segment in target.subject.segments:
            start = segment.pa & -PAGE
            end = (segment.pa + segment.size + 2 * PAGE - 1) & -PAGE  # an exit may be right after it
            engine.protect(start, end - start, read=True, write=False, execute=True)
        for placed in target.tables:
            start, end = placed.pa & -PAGE, (placed.bytes_at.stop + PAGE - 1) & -PAGE
            if placed.table.symbol in target.ours:
                engine.protect(start, end - start, read=True, write=False, execute=False)
        if target.contract.stack:
            size = (target.contract.stack + PAGE - 1) & -PAGE
            engine.protect(target.stack_top - size, size, read=True, write=True, execute=False)
        engine.protect(driver_pa, PAGE, read=True, write=False, execute=True)
        end = self._wrong_pa + 8 * QUESTIONS_MAX
        engine.protect(self._cells_pa, end - self._cells_pa, read=True, write=True, execute=False)

    def fill(self, logical_map: Sequence[int | None]) -> None:
        """Write the tables for this logical map."""
        target = self.target
        for placed, data in zip(target.tables, target.fill(logical_map), strict=True):
            self._memory.write_bytes(placed.pa, data)

    def ask(self, mpidrs: Sequence[int], expected: Sequence[int | None]) -> Iterator[int]:
        """Ask for every MPIDR (u64); yield the indices of the wrong answers, ascending.

        When the code hangs repeatedly, the rest of the batch is not asked; ``unasked`` counts it.

        :param expected: logical CPU number for each MPIDR, None when no entry matches
        """
        assert len(mpidrs) == len(expected) <= QUESTIONS_MAX
        memory, none = self._memory, self._none
        if size := self.target.contract.stack:
            memory.write_bytes(self.target.stack_top - size, STARTS[1].on_stack(size))
        memory.write_bytes(self._questions_pa, array("Q", mpidrs).tobytes())
        answers = array("Q", [none if answer is None else answer for answer in expected])
        memory.write_bytes(self._answers_pa, answers.tobytes())
        for place, idle in self._run(len(mpidrs)):
            if not (idle and expected[place] is None and self._may_park):
                yield place

    def _run(self, count: int) -> Iterator[tuple[int, bool]]:
        # Yield the place of each wrong answer, and whether it came to no exit but parks, sleeps or loops.
        # After a question that reaches no exit, run again from the next one.
        # Code that hangs runs counted: a few questions at a time, twice as many after those that went well.
        memory, engine, pe = self._memory, self._engine, self._pe
        limit = self.target.instructions_limit + _OF_DRIVER
        done = hangs = 0
        few = 1
        alone = False  # ask one question by itself, counted: it timed out, perhaps because the host is busy
        hangs_max = _HANGS_MAX if self._may_park else 1
        while done < count and hangs < hangs_max:
            asked = min(few if self._hangs else 1 if alone else count, count - done)
            counted = alone or self._hangs
            cells = (self._questions_pa + 8 * done, self._wrong_pa, asked, self._none)
            memory.write_bytes(self._cells_pa, struct.pack("<4Q", *cells))
            engine.reset(pe, self.target.contract.el, self._driver.start_pa, 0)
            self._begin_registers(asked)
            if counted:
                stop = self._run_counted(limit)
            else:
                stop = engine.run_uncounted(pe, self._patience(asked))
            yield from [(place, False) for place in self._told()]
            left = self._left()
            done += asked - left
            hung = isinstance(stop, StepLimit)
            if left == 0 or (hung and not counted):
                alone = left > 0
                few *= 2
                continue
            # To park, sleep or loop may be right, anything else cannot.
            yield done, hung or isinstance(stop, SelfBranch | Waiting)
            done += 1
            hangs += hung
            self._hangs |= hung
            few = 1
            alone = False
        self.unasked = count - done

    def _begin_registers(self, asked: int) -> None:
        # As the driver loads them: a time-out can come before its first instruction.
        for register, value in ((self._driver.wrong, self._wrong_pa), (self._driver.left, asked)):
            if register is not None:
                self._pe.x[register] = value

    def _told(self) -> list[int]:
        # The places of the questions that the driver has told of: it tells the PA of the one after each.
        end = self._of_driver(self._driver.wrong, 1)
        told = array("Q", self._memory.read_bytes(self._wrong_pa, end - self._wrong_pa))
        return [(pa - 8 - self._questions_pa) // 8 for pa in told]

    def _of_driver(self, register: int | None, cell: int) -> int:
        # What the driver keeps in a register, or in a cell.
        return self._memory.read(self._cells_pa + 8 * cell, 8) if register is None else self._pe.x[register]

    def _run_counted(self, limit: int) -> EngineStop:
        # Until one question has taken more than the limit, or it is proved that it goes on for as long.
        engine, pe = self._engine, self._pe
        left, done = -1, 0  # at the last look, and what the question has taken since
        while True:
            some = min(limit, _OF_DRIVER + self.target.instructions_expected, _COUNTED)
            stop = engine.run(pe, some)
            if not isinstance(stop, StepLimit):
                return stop
            done += some
            if self._left() != left:
                left, done = self._left(), 0
            elif done >= limit:
                return stop
            elif done == some:
                endless = goes_on(engine, self._memory, pe, limit)
                engine.unobserve()
                if endless:
                    return stop

    def _left(self) -> int:
        # Questions that have no answer yet.
        return self._of_driver(self._driver.left, 2)

    def _patience(self, count: int) -> float:
        # Host seconds for ``count`` questions of code that has not hung.
        return min(_SECONDS + count * self.target.instructions_limit / _INSTRUCTIONS_PER_SECOND, _SECONDS_MAX)

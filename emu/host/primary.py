"""The primary of a real kernel, from the Image's first byte until smp_prepare_boot_cpu() has returned.

It runs without an instruction count, at full speed. One that takes long is begun again on a new machine and
counted: it is looked at after so many instructions, and one that goes round, or takes exceptions or calls
firmware without end, never comes to the take-over. What gets somewhere all the same, such as a long count, is
bounded by instructions. So the speed of the host decides how long that takes, and nothing else.
"""

from __future__ import annotations

from emu.cpu.engine import Engine
from emu.cpu.pe import PE
from emu.cpu.stops import Call, EngineStop, Raised, Reached, SelfBranch, StepLimit, Unsupported, Waiting
from emu.errors import Untestable
from emu.host.dirty_lines import primary_lines
from emu.host.platform import NeedsCount
from emu.machine import Machine
from emu.subject import Subject
from emu.subject.kernel import KernelImage

TAKE_OVER_AFTER = "smp_prepare_boot_cpu"
PRIMARY_MAX = 500_000_000  # instructions; Debian's 6.12 takes 17 million for 8 CPUs, 250 million for 4,096
# Of the host, for a run that is not counted, up to its next stop; and more for each CPU.
_UNCOUNTED_SECONDS, _UNCOUNTED_SECONDS_CPU = 1.0, 0.004
_COUNTED_FIRST = 1 << 22  # instructions before the first look of a counted run; then twice as many each time
_EXCEPTIONS_MAX = 1000  # a healthy primary takes a handful
_COUNTER_READS_MAX = 50_000  # ticks; a healthy primary does not wait for time to pass
_CALLS_MAX = 2000  # of firmware; a healthy primary makes a dozen


def boot_primary(
    machine: Machine, pe: PE, image: KernelImage, dtb_pa: int, instructions_max: int, *, counted: bool
) -> None:
    """Run the primary on ``pe`` until it has returned from smp_prepare_boot_cpu().

    :param dtb_pa: PA of the device tree, for X0
    :param instructions_max: the bound, counted from the beginning; 0: PRIMARY_MAX
    :param counted: count the instructions, whether there is a bound or not
    :raises NeedsCount: not ``counted``, and it takes long; the machine is not what it was
    :raises Untestable: it does not come there
    """
    with primary_lines(machine):
        _Primary(machine, pe, image, instructions_max, counted=counted).boot(dtb_pa)


class _Primary:
    # One boot of `image` on `pe`.

    def __init__(
        self, machine: Machine, pe: PE, image: KernelImage, instructions_max: int, *, counted: bool
    ) -> None:
        self._machine = machine
        self._engine: Engine = machine.engine
        self._pe = pe
        self._image = image
        self._subject: Subject = image.subject
        self._counted = counted or bool(instructions_max)
        self._seconds = _UNCOUNTED_SECONDS + _UNCOUNTED_SECONDS_CPU * len(machine.actors)
        self._max = self._left = instructions_max or PRIMARY_MAX
        self._slice = _COUNTED_FIRST
        self._calls = 0

    def boot(self, dtb_pa: int) -> None:
        engine, subject, pe = self._engine, self._subject, self._pe
        engine.reset(pe, self._machine.entry_el, self._image.entry_pa, dtb_pa)
        for number in (1, 2, 3):
            pe.x[number] = 0
        before, panic = subject.va(TAKE_OVER_AFTER), subject.symbols.address("panic")
        after = -1
        for va in (before, panic):
            if va:
                engine.break_at(va)
        while True:
            stop = self._run()
            if isinstance(stop, Reached) and stop.va == before:
                after = pe.x[30]
                engine.break_at(after)
            elif isinstance(stop, Reached) and stop.va == after:
                break
            else:
                self._go_on(stop)
        self._check_counter_reads()
        for va in (before, panic):
            if va:
                engine.unbreak(va)
        self._machine.landings.allow_guest_calls(after)

    def _run(self) -> EngineStop:
        if not self._counted:
            stop = self._engine.run_uncounted(self._pe, self._seconds)
            if isinstance(stop, StepLimit):
                raise NeedsCount
            return stop
        done = self._pe.counters.instructions
        stop = self._engine.run(self._pe, min(self._slice, self._left))
        self._left -= self._pe.counters.instructions - done
        if isinstance(stop, StepLimit):
            self._slice *= 2
        return stop

    def _go_on(self, stop: EngineStop) -> None:
        # Do what a stop asks for that is no breakpoint of the take-over.
        machine, pe = self._machine, self._pe
        match stop:
            case StepLimit():
                self._look()
            case Call() if stop.conduit == machine.power.conduit:
                self._count_call(pe.x[0])
                result = machine.power.ask(0, pe.x[0], pe.x[1], pe.x[2], pe.x[3]) or 0
                pe.x[0] = result & (2**64 - 1)
            case Call(conduit="hvc") if machine.entry_el == 2:
                self._take(Raised(0x16 << 26 | 1 << 25 | stop.immediate, None, 2, pe.pc))
            case Raised():
                self._take(stop)
            case Reached():
                self._fail("it calls panic()", pe.x[30])
            case Waiting():
                self._fail(f"it waits in {stop.kind.name}", pe.pc - 4)
            case SelfBranch(va):
                self._fail("it branches to itself", va)
            case Unsupported(what, va):
                self._fail(f"not modelled: {what}", va)
            case _:
                self._fail(str(stop), pe.pc)

    def _look(self) -> None:
        loop = self._machine.spins.loop_of(0, max(self._left, 1))
        if loop is not None and (loop.raised is not None or not loop.counts):
            what = "it goes round with no effect"
            if loop.raised is not None:
                what = f"it takes an exception for ever, ESR {loop.raised.syndrome:#x}"
            self._fail(what, loop.first)
        self._check_counter_reads()
        if self._left <= 0 or loop is not None:
            why = f"not within {self._max} instructions (--primary-max gives it more)"
            self._fail(why, self._function())

    def _check_counter_reads(self) -> None:
        if self._machine.clock.counter_reads <= _COUNTER_READS_MAX:
            return
        if not self._counted:
            raise NeedsCount
        self._fail(f"it has read the counter more than {_COUNTER_READS_MAX} times", self._function())

    def _function(self) -> int:
        # VA of the function that it runs: where in it the host looks is nothing to tell.
        subject, pc = self._subject, self._pe.pc
        offset = 0 if pc >> 63 else subject.va_offset
        found = subject.symbols.at((pc + offset) & (2**64 - 1))
        return pc - found[1] if found is not None else pc

    def _count_call(self, function_id: int) -> None:
        self._calls += 1
        if self._calls > _CALLS_MAX:
            called = f"function {function_id & 0xFFFF_FFFF:#x} last"
            self._fail(f"it has called firmware {_CALLS_MAX} times, {called}", self._pe.pc - 4)

    def _take(self, raised: Raised) -> None:
        pe = self._pe
        if raised.target_el > 2 or pe.counters.exceptions >= _EXCEPTIONS_MAX:
            which = (
                "an exception to EL3"
                if raised.target_el > 2
                else f"{_EXCEPTIONS_MAX} exceptions and one more"
            )
            far = f", FAR {raised.far:#x}" if raised.far is not None else ""
            self._fail(f"it takes {which}, ESR {raised.syndrome:#x}{far}", raised.preferred_return)
        pe.take(raised)

    def _fail(self, what: str, pc: int) -> None:
        subject = self._subject
        pa = (pc - subject.va_offset) & (2**64 - 1) if pc >> 63 else pc
        inside = self._image.entry_pa <= pa < self._image.entry_pa + self._image.image_size
        where = subject.symbols.describe((pa + subject.va_offset) & (2**64 - 1)) if inside else f"{pc:#x}"
        raise Untestable(
            f"{subject.name}: the primary did not come to {TAKE_OVER_AFTER}(): {what}, from {where}"
        )

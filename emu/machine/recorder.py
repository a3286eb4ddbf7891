"""What a machine puts into its trace, in the words of the run; nothing else writes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from emu.arch import sysreg
from emu.arch.sysreg import Encoding
from emu.cpu.pe import PE
from emu.cpu.sysregs import access, vhe
from emu.cpu.sysregs.rows import BY_NAME
from emu.machine.actor import Actor, State, end_pc, location
from emu.milestone import Milestone
from emu.models.protocol import Note
from emu.operation import Expect, Kind, Mask, Register, Reported, Wanted
from emu.outcome import End, Outcome
from emu.semantics import log
from emu.trace import Trace

_OF_CACHES = (Register.CLIDR_EL1, Register.CTR_EL0)
_OF_SYSREGS = [
    (register, getattr(sysreg, register.name))
    for register in Register
    if register
    not in (
        Register.SP,
        Register.SP_EL0,
        Register.EL,
        Register.MPIDR_EL1,
        Register.MIDR_EL1,
        Register.X19,
        *_OF_CACHES,
    )
]
_OF_EL1 = [(register, encoding) for register, encoding in _OF_SYSREGS if register < Register.HCR_EL2]
_OF_EL2 = [(register, encoding) for register, encoding in _OF_SYSREGS if register >= Register.HCR_EL2]


def registers(pe: PE, entry_el: int) -> list[tuple[Register, int]]:
    """Return what is kept of a PE when it lands that was entered at ``entry_el``.

    At EL2 with HCR_EL2.E2H set the names of EL1 are those of EL2's registers, as for code there.
    """
    kept: list[tuple[Register, int]] = [(r, _read(pe, encoding)) for r, encoding in _OF_EL1]
    if entry_el == 2:
        kept += [(r, pe.system_register(encoding)) for r, encoding in _OF_EL2]
        if (Register.VPIDR_EL2, pe.midr) not in kept:
            kept.append((Register.MIDR_EL1, pe.midr))
    kept += [(Register.SP, pe.sp), (Register.SP_EL0, pe.stack_pointer(0))]
    kept += [(Register.EL, pe.el), (Register.MPIDR_EL1, pe.mpidr), (Register.X19, pe.x[19])]
    return kept


def _read(pe: PE, encoding: Encoding) -> int:
    other = vhe.redirected(pe, encoding)
    return pe.sysreg(encoding) if other is None else pe.system_register(other)


class Recorder:
    """Writes ``trace``.

    :ivar recording: keep every operation, not events alone
    :ivar keeps_caches: keep what CPUs say of their caches when they land: not all say the same
    :ivar copied: by index of a COPY record, the bytes; None: they are not kept
    """

    def __init__(self, trace: Trace, *, recording: bool) -> None:
        self.keeps_caches = False
        self.copied: dict[int, bytes] | None = None
        self.trace = trace
        self.recording = recording
        self.deferred = log.DeferredLog()

    # -- operations -------------------------------------------------------------------------------

    def operation(self, kind: Kind, cpu: int, pc: int, pa: int, value: int, size: int = 0) -> None:
        """Keep an operation of a PE that its engine does not tell of."""
        if self.recording:
            self.trace.add(kind, cpu, size, pc, pa, value)

    def host_operation(self, kind: Kind, cpu: int, actor: Actor, pa: int, value: int, size: int = 0) -> None:
        """Keep an operation of a host task."""
        if self.recording:
            self.trace.add(kind, cpu, size, self.host_pc(actor), pa, value)

    def host_pc(self, actor: Actor) -> int:
        """Return the PC that records of the actor's host task have now."""
        return self.trace.host_pc(location(actor.task))

    # -- events -----------------------------------------------------------------------------------

    def event(self, kind: Kind, cpu: int, pc: int, value: int, pa: int = 0, size: int = 0) -> None:
        """Keep an event, whatever is recorded."""
        self.trace.add(kind, cpu, size, pc, pa, value)

    def text(self, kind: Kind, cpu: int, pc: int, text: str, pa: int = 0) -> None:
        """Keep an event whose value is a string."""
        self.trace.add(kind, cpu, 0, pc, pa, self.trace.string(text))

    def land(self, cpu: int, pe: PE, va: int, landings: int, entry_el: int) -> None:
        """``cpu``, entered at ``entry_el``, has come to a landing, with these registers."""
        self.event(Kind.LAND, cpu, va, landings)
        self.trace.add_registers(cpu, va, self._registers(pe, entry_el))

    def call(self, cpu: int, pc: int, function_id: int, x1: int, x2: int, x3: int) -> None:
        """``cpu`` calls firmware."""
        self.event(Kind.CALL, cpu, pc, function_id, x1)
        self.event(Kind.CALL_ARGS, cpu, pc, x3, x2)

    def copy(self, cpu: int, pc: int, pa: int, data: bytes) -> None:
        """Keep that ``data`` was copied to ``pa``; the bytes too where somebody asked for them."""
        if self.copied is not None:
            self.copied[len(self.trace)] = data
        self.event(Kind.COPY, cpu, pc, len(data), pa)

    # -- the log ----------------------------------------------------------------------------------

    def milestone(self, cpu: int, milestone: Milestone, about: int) -> None:
        """Keep how far the bring-up of CPU ``about`` is, where times are recorded."""
        if self.trace.has_clock:
            self.event(Kind.MILESTONE, cpu, 0, 0, about, milestone)

    def log(self, cpu: int, now: int, line: str, reported: Reported | None = None) -> None:
        """Keep one line of dmesg at ``now`` (ns), and what it says of a CPU."""
        number = self.trace.string(line)
        self.event(Kind.LOG, cpu, 0, number, now)
        if reported is not None:
            what, about, detail = reported
            self.event(Kind.REPORT, about if about >= 0 else cpu, 0, number, detail, what)

    def defer_log(self, cpu: int, owner: int, line: str) -> None:
        """Keep one line of dmesg that comes out later."""
        number = self.trace.string(line)
        self.deferred = log.defer(self.deferred, owner, number)
        self.event(Kind.DEFERRED, cpu, 0, number, owner)

    def flush_deferred(self, cpu: int, now: int, owner: int) -> None:
        """Let the deferred lines of ``owner`` come out, or of every CPU."""
        self.event(Kind.FLUSHED, cpu, 0, 0, owner & 0xFFFF)
        self.deferred, lines = log.flush(self.deferred, owner)
        for number in lines:
            self.event(Kind.LOG, cpu, 0, number, now)

    # -- what rules judge by ----------------------------------------------------------------------

    def expect(self, cpu: int, what: Expect, value: int, end: int = 0) -> None:
        """Keep what the host has prepared for ``cpu``."""
        self.event(Kind.EXPECT, cpu, 0, value, end, what)

    def take_over(self, pe: PE, entry_el: int) -> None:
        """Keep the boot CPU's registers as the secondaries should have them."""
        self.event(Kind.TAKE_OVER, 0, pe.pc, 0)
        self.trace.add_registers(0, pe.pc, self._registers(pe, entry_el))

    def _registers(self, pe: PE, entry_el: int) -> list[tuple[Register, int]]:
        kept = registers(pe, entry_el)
        if self.keeps_caches:
            kept += [(each, access.value(pe, BY_NAME[each.name])) for each in _OF_CACHES]
        return kept

    def table(self, name: str, entries: Iterable[tuple[int, int]]) -> None:
        """Keep the table that secondaries scan: PA and value (u64) of each entry."""
        number = self.trace.string(name)
        for index, (pa, value) in enumerate(entries):
            self.event(Kind.TABLE, index, number, value, pa, 8)

    def masks(self, cpu: int, mask: Mask, hwid: int, entry: tuple[int, int]) -> None:
        """Keep what kernel and firmware have ``cpu`` down for; ``entry``: PA and value of its table entry."""
        self.event(Kind.MASKS, cpu, entry[0], entry[1], hwid, mask)

    def want(self, cpu: int, wanted: Wanted) -> None:
        """Keep what is asked of ``cpu`` from now on."""
        self.event(Kind.WANTED, cpu, 0, wanted)

    def boot_modes(self, modes: Sequence[int]) -> None:
        """Keep both words of __boot_cpu_mode."""
        self.event(Kind.BOOT_MODE, 0, 0, modes[1] << 32 | modes[0], 0, 8)

    # -- the end ----------------------------------------------------------------------------------

    def end(
        self, stopped: str, ends: Iterable[tuple[int, Actor, Outcome]], lost: Iterable[Note] = ()
    ) -> None:
        """Keep what the memory model loses at the end, why the run was cut off, and how every CPU ends."""
        for note in lost:
            self.event(note.kind, 0, 0, note.value, note.pa, note.size)
        if stopped:
            self.text(Kind.STOPPED, 0, 0, stopped)
        self.outcomes(ends)

    def livelocks(self, ends: Iterable[tuple[int, Actor, Outcome]]) -> None:
        """Keep which CPUs go round for ever."""
        for cpu, actor, outcome in ends:
            if outcome.end is End.SPINS:
                self.event(Kind.LIVELOCK, cpu, end_pc(actor), 0, outcome.number)

    def outcomes(self, ends: Iterable[tuple[int, Actor, Outcome]]) -> None:
        """Keep how every CPU ends that has not ended yet."""
        for cpu, actor, outcome in ends:
            if actor.state is not State.ENDED:
                self.trace.add_outcome(cpu, end_pc(actor), outcome)

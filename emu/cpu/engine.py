"""What executes PEs, as a protocol: the machine, look-ups and the debugger know no more of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from emu.cpu.loops import LookAhead, Loop
from emu.cpu.pe import PE
from emu.cpu.stops import EngineStop
from emu.instructions import InstructionRecorder
from emu.memory import Memory
from emu.operation import Access, Kind, Operation
from emu.records import EngineRecords

UNLIMITED = 1 << 40  # instructions
UNCOUNTED_SECONDS = 300
# An operation is preceded by invisible instructions; a loop without any operation is cut after this many.
INVISIBLE_MAX = 1 << 16
LINE_SHIFT = 6  # code is known by lines of 64 bytes: data beside it can be stored to at no cost


class SeenCode(NamedTuple):
    """What is known of the code in memory; the sets grow and shrink.

    :ivar lines: PA >> LINE_SHIFT of every line (64 bytes) that a PE has, or may have, fetched from
    :ivar executed: PA >> 2 of the words of every block that a PE began while accesses were observed
    :ivar stored: PA >> 2 of every word that was stored to meanwhile; hosts add theirs. The interconnect is
        told of a PE that executes one
    """

    lines: set[int]
    executed: set[int]
    stored: set[int]


class InParts(Protocol):
    """Makes the accesses of the instruction at the PC one at a time, and then does the instruction."""

    def completes(self, pe: PE, accesses: Sequence[Access]) -> bool:
        """Tell whether the instruction, which makes these accesses, raises no exception; nothing is done."""

    def make(self, pe: PE, access: Access, arms: int = -1) -> int:
        """Make one access alone; give what it loads (unsigned), 0 of a store.

        :param arms: the PA for which it arms the exclusive monitor, or -1
        """

    def complete(self, pe: PE, accesses: Sequence[Access], values: Sequence[int]) -> EngineStop:
        """Do the instruction, all of whose accesses are made: nobody notices them once more.

        :param values: what the accesses have loaded (unsigned), in order; of a store anything
        """


class SeenAccess(NamedTuple):
    """A load or store that :meth:`FreeRunning.watch` has seen: by which PE, at which PC (VA); what it moves.

    A store-exclusive that fails and a compare-and-swap that finds another value store what was there.
    """

    pe: PE
    kind: Kind
    size: int
    pc: int
    pa: int
    value: int


class FreeRunning(Protocol):
    """PEs at full speed, with interrupts, nothing observed: from :meth:`begin` on.

    :meth:`Engine.run` then stops behind WFE and YIELD too, whatever the event register says, and at a branch
    to itself; all three are :class:`emu.cpu.stops.Waiting` for an event.
    """

    def begin(self) -> None:
        """Run freely from now on."""

    def set_line(self, pe: PE, line: int, high: bool) -> None:
        """Assert or deassert IRQ (0) or FIQ (1) of ``pe``, which takes it when PSTATE.I or F is clear."""

    def stop_behind(self) -> None:
        """In a callback of the interconnect: end the run behind the instruction that it is about."""

    @property
    def ended(self) -> bool:
        """Whether :meth:`stop_behind` has ended the last run."""

    def rewind(self, pages: Collection[int]) -> None:
        """The host has put PEs and memory back to where they were before: these pages (PAs) have changed.

        What has been translated of others is used again.
        """

    def pause_behind(self) -> None:
        """In the callback of :meth:`watch`: as :meth:`stop_behind`, but as if the limit had come there."""

    def halt_at(self, pas: Collection[int], *, before_modes: bool = False) -> None:
        """End each run before an instruction at one of these PAs, as if its limit had come; not before the
        one that the last run of the PE has ended at. Places of before are forgotten.

        :param before_modes: also before each that :func:`emu.arch.a64.changes_mode` names
        """

    def watch(self, pas: Sequence[range], *, loads: bool, seen: Callable[[SeenAccess], None]) -> None:
        """Call ``seen`` with each store to these PAs before it is made, and each load if ``loads``.

        What was watched before is forgotten. Not seen: the second page of an access that crosses one.
        """

    def note_stores(self, pas: range, seen: Callable[[SeenAccess], None]) -> None:
        """As :meth:`watch` of stores, beside it, and once: what is watched stays so.

        Stores to other pages are as fast as without; one to theirs takes some us.
        """

    def note_at(self, va: int, seen: Callable[[PE], None]) -> None:
        """Call ``seen`` as a PE gets to ``va``, the first instruction of a block; the run goes on.

        What comes of it may not change the PE. Where a run ends there and another begins, it is called again.
        """

    def record(self, into: EngineRecords) -> None:
        """From now on put a record there for each access to RAM and each barrier (DSB, DMB).

        The value is that of the access, and of a barrier its word; a DC ZVA is one store of 64 bytes. Not
        seen: the second page of an access that crosses one. A store-exclusive compares values, as
        everywhere in a free run.
        """

    def at_self_branch(self, pe: PE) -> bool:
        """Tell whether ``pe`` stands at a branch to itself."""


class Engine(Protocol):
    """Runs PEs on ``memory``; what is outside of them is an :class:`emu.cpu.interconnect.Interconnect`."""

    memory: Memory

    @property
    def in_parts(self) -> InParts:
        """What makes instructions access by access; after :meth:`observe` only."""

    @property
    def free(self) -> FreeRunning:
        """PEs that run freely."""

    # -- PEs --------------------------------------------------------------------------------------

    def new_pe(self, index: int, mpidr: int, midr: int, el: int) -> PE:
        """Return a PE at its reset state, to enter at EL ``el`` (1 or 2); ``mpidr``, ``midr``: raw u64."""

    def reset(self, pe: PE, el: int, entry_pa: int, x0: int) -> None:
        """Switch ``pe`` on at ``entry_pa``. X1..X30 are unspecified and hold a pattern."""

    # -- running ----------------------------------------------------------------------------------

    def run(self, pe: PE, instructions_max: int = UNLIMITED) -> EngineStop:
        """Run ``pe`` at full speed until it stops or has retired ``instructions_max`` (1 at least)."""

    def run_uncounted(self, pe: PE, seconds: float = UNCOUNTED_SECONDS) -> EngineStop:
        """Run ``pe`` until it stops, with no limit and no instruction count: at least twice as fast.

        Before :meth:`observe` only; counted and uncounted code do not mix. A loop that nothing ends is
        given up after so many ``seconds`` of host time, which is no result: what it was, a counted run says.
        """

    def step(self, pe: PE) -> EngineStop:
        """Run one instruction."""

    def run_operation(self, pe: PE) -> EngineStop:
        """Run the operation at the PC, if there is one, then up to the next one."""

    def at_operation(self, pe: PE) -> bool:
        """Tell whether the instruction at the PC is one that others can observe."""

    def next_operation(self, pe: PE, *, conduit: str = "", attributes: bool = False) -> Operation:
        """Return what ``pe`` does next, without doing it; Invisible when no other PE can observe it.

        An operation that raises an exception is invisible too. After :meth:`observe` only.

        :param conduit: of the firmware that answers, ``"smc"`` or ``"hvc"``; other calls are exceptions
        :param attributes: find out which accesses are cacheable; else all are told to be
        """

    def run_ahead(
        self,
        pes: Sequence[PE],
        outside: LookAhead,
        instructions_max: int,
        goes_on_for: int = 0,
        turn: int = 1,
    ) -> list[Loop] | None:
        """Return how PEs would go round from here on, with no effect; None: they do not.

        They go round when all of them and ``outside`` come back to a state that was there before. One alone
        also does when it takes the same exception in its handler over and over; of several none may take one.
        Nothing is said of what needs more than ``instructions_max``. After :meth:`observe` only. Memory is
        left as they have made it.

        :param outside: takes the place of what is outside of the PEs
        :param goes_on_for: one alone that counts goes round as well when it is proved to do so for as many
            instructions (:mod:`emu.cpu.counting`); 0: none does
        :param turn: instructions of a PE before the next one runs
        """

    def run_to_wait(
        self, pe: PE, outside: LookAhead, instructions_max: int
    ) -> tuple[tuple[int, int], ...] | None:
        """Return what ``pe``, which waits, executes up to its next WFE when it is woken, with no effect.

        None: it does something that others see, comes to another state than it is in now, or needs more than
        ``instructions_max``. After :meth:`observe` only, and not while steps are recorded.

        :param outside: takes the place of what is outside of the PEs
        :return: VA and word (u32) of each instruction; the last is the WFE
        """

    # -- code -------------------------------------------------------------------------------------

    def break_at(self, va: int) -> None:
        """Stop any PE whose PC gets to ``va``, before the instruction runs."""

    def unbreak(self, va: int) -> None:
        """Forget a breakpoint."""

    def word(self, va: int) -> int | None:
        """Return the instruction word (u32) that the PE that runs fetches at ``va``, or None."""

    def translate_live(self, va: int) -> int | None:
        """Return the PA of ``va`` for the PE that runs, also in a callback; None when it is not mapped."""

    @property
    def code(self) -> SeenCode:
        """What is known of the code in memory."""

    def is_code(self, pa: int, size: int) -> bool:
        """Tell whether a PE has, or may have, fetched from the lines (64 bytes) of these bytes."""

    def forget_code(self) -> None:
        """Drop every translation and everything known about code: the host rewrote some, or hooks changed."""

    def protect(self, pa: int, size: int, *, read: bool, write: bool, execute: bool) -> None:
        """Let PEs do no more than this to whole pages of memory; anything else is an external abort."""

    def map_device(self, pas: range) -> None:
        """Let accesses of PEs to these PAs, whole pages outside of ``memory``, go to the interconnect."""

    # -- observing --------------------------------------------------------------------------------

    def observe(self, *, record: bool, accesses: bool = False, pass_over: Sequence[range] = ()) -> None:
        """From now on count memory accesses, and tell the interconnect of operations.

        Before, a PE runs without any memory hook.

        :param record: of every operation, by ``record()``
        :param accesses: of accesses and cache maintenance before they are made
        :param pass_over: loads within these PAs of memory are neither counted nor recorded, which is faster:
            the same at each call but for none, until :meth:`unobserve`
        """

    def unobserve(self, *, maintenance: bool = False) -> None:
        """Neither count nor record from now on, as before :meth:`observe`.

        :param maintenance: tell the interconnect of maintenance by VA all the same, and of writes to SCTLR
        """

    @property
    def begun(self) -> int:
        """Instructions that the running PE has begun and its counter does not have yet."""

    def watch_stores(self, pas: range) -> None:
        """Record the stores to these PAs even while nothing else is recorded."""

    def watch_index(self, vas: Mapping[int, int], limit: int) -> None:
        """Record (Kind.SLOT) each PE that gets to one of ``vas`` with an index of ``limit`` or more.

        :param vas: which X register the index is in, by VA
        """

    def record_steps(self) -> InstructionRecorder:
        """Return a recorder that gets every instruction after the next :meth:`observe`."""

    def take_state(self, pe: PE) -> None:
        """Give the recorder of steps the state that ``pe`` stops in, as if an instruction followed."""

    def collect_edges(self, into: set[tuple[int, int]] | None) -> None:
        """From now on add every edge of the control flow to ``into``: VAs of a block and of the next one.

        A block is what the engine runs at a stretch: to a branch, to the end of a page, or to a word that the
        host does in its place; before the first block of a PE that was switched on it is 0. The same run
        gives the same edges, whatever ran before. Each block costs a call, so this is for one PE that is
        looked at closely. None: stop it.
        """

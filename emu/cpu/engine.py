"""What executes PEs, as a protocol: the machine, look-ups and the debugger know no more of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from emu.cpu.pe import PE
from emu.cpu.stops import Stop
from emu.instructions import Recorder as StepRecorder
from emu.memory import Memory
from emu.operation import Kind

UNLIMITED = 1 << 40  # instructions
UNCOUNTED_SECONDS = 300
# An operation is preceded by invisible instructions; a loop without any operation is cut after this many.
INVISIBLE_MAX = 1 << 16
LINE_SHIFT = 6  # code is known by lines of 64 bytes: data beside it can be stored to at no cost

Recorder = Callable[[Kind, int, int, int, int], None]  # kind, size, pc, pa, value


class Engine(Protocol):
    """Runs PEs on ``memory``.

    :ivar record: gets what PEs do; None: only the counters are kept
    :ivar watched: PAs whose stores go to ``record_store`` even when nothing is recorded
    :ivar access: before an access: PE, VA of its instruction, PA, size, is a store
    :ivar maintain: at a DC or IC: PE, word, its VA operand
    :ivar armed_monitors: PA of the granule by PE
    :ivar events: PEs whose event register a cleared monitor has set
    :ivar steps: gets every instruction
    :ivar timed: somebody asks for ``begun``
    """

    memory: Memory
    record: Recorder | None
    record_store: Recorder | None
    watched: range
    send_event: Callable[[], None]
    access: Callable[[PE, int, int, int, bool], None] | None
    maintain: Callable[[PE, int, int], None] | None
    armed_monitors: dict[PE, int]
    events: list[PE]
    steps: StepRecorder | None
    timed: bool

    # -- PEs --------------------------------------------------------------------------------------

    def new_pe(self, index: int, mpidr: int, midr: int, el: int) -> PE:
        """Return a PE at its reset state, to enter at EL ``el`` (1 or 2); ``mpidr``, ``midr``: raw u64."""

    def reset(self, pe: PE, el: int, entry_pa: int, x0: int) -> None:
        """Switch ``pe`` on at ``entry_pa``. X1..X30 are unspecified and hold a pattern."""

    def disarm(self, pe: PE) -> None:
        """Clear the exclusive monitor of ``pe``, which is no event for it."""

    def store_clears_monitors(self, pa: int, size: int, writer: PE | None) -> None:
        """Clear the monitor of each PE but ``writer`` whose granule the store hits: an event for it."""

    def store_clears_monitors_in(self, pas: range) -> None:
        """Clear the monitor of each PE whose granule lies in these PAs: the host stores to all of them."""

    # -- running ----------------------------------------------------------------------------------

    def run(self, pe: PE, instructions_max: int = UNLIMITED) -> Stop:
        """Run ``pe`` at full speed until it stops or has retired ``instructions_max`` (1 at least)."""

    def run_uncounted(self, pe: PE, seconds: float = UNCOUNTED_SECONDS) -> Stop:
        """Run ``pe`` until it stops, with no limit and no instruction count: at least twice as fast.

        Before :meth:`observe_memory` only; counted and uncounted code do not mix. A loop that nothing ends is
        given up after so many ``seconds`` of host time, which is no result: what it was, a counted run says.
        """

    def step(self, pe: PE) -> Stop:
        """Run one instruction."""

    def run_operation(self, pe: PE) -> Stop:
        """Run the operation at the PC, if there is one, then up to the next one."""

    def at_operation(self, pe: PE) -> bool:
        """Tell whether the instruction at the PC is one that others can observe."""

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
    def code_lines(self) -> set[int]:
        """PA >> LINE_SHIFT of every line (64 bytes) that a PE has, or may have, fetched from."""

    def is_code(self, pa: int, size: int) -> bool:
        """Tell whether a PE has, or may have, fetched from the lines (64 bytes) of these bytes."""

    def forget_code(self) -> None:
        """Drop every translation and everything known about code: the host rewrote some, or hooks changed."""

    def protect(self, pa: int, size: int, *, read: bool, write: bool, execute: bool) -> None:
        """Let PEs do no more than this to whole pages of memory; anything else is an external abort."""

    # -- observing --------------------------------------------------------------------------------

    def observe_memory(self) -> None:
        """From now on count memory accesses, and record them and the rest if ``record`` is set.

        Before, a PE runs without any memory hook.
        """

    def unobserve(self) -> None:
        """Neither count nor record from now on, as before :meth:`observe_memory`."""

    @property
    def begun(self) -> int:
        """Instructions begun that the running PE's counter does not have yet; only while ``timed``."""

    def step_recorder(self) -> StepRecorder:
        """Return a recorder of instructions; as ``steps`` it gets those after :meth:`observe_memory`."""

    def take_state(self, pe: PE) -> None:
        """Give ``steps`` the state that ``pe`` stops in, as if it were about to do an instruction."""

    def collect_edges(self, into: set[tuple[int, int]] | None) -> None:
        """From now on add every edge of the control flow to ``into``: VAs of a block and of the next one.

        A block is what the engine runs at a stretch: to a branch, to the end of a page, or to a word that the
        host does in its place; before the first block of a PE that was switched on it is 0. The same run
        gives the same edges, whatever ran before. Each block costs a call, so this is for one PE that is
        looked at closely. None: stop it.
        """

"""Operations and events: what a run consists of, the same type for a PE and for a host task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import NamedTuple

from emu.milestone import Reach
from emu.outcome import Outcome


class Kind(IntEnum):
    """Kind of a trace record, and of the instruction that makes it (:func:`emu.arch.a64.classify`).

    Values are the trace file's; append only.
    """

    LOAD = 1
    STORE = 2
    ATOMIC = 3  # a host task's read-modify-write
    LOAD_EXCLUSIVE = 4
    STORE_EXCLUSIVE = 5  # one that succeeded
    BARRIER = 6  # value: the instruction word
    CACHE = 7  # value: the instruction word, pa: the address operand as given
    TLB = 8
    WFE = 9  # value 1: went to sleep, 0: consumed the event
    WFI = 10
    SEV = 11
    SEVL = 12
    YIELD = 13
    CALL = 14  # value: function id, pa: x1
    CALL_ARGS = 15  # value: x3, pa: x2
    RETURN = 16  # value: x0 after the call
    DELAY = 17  # value: ns
    PARK = 18  # a branch to itself, or the end of a host task
    SEND_INTERRUPT = 19  # value: the CPU it goes to
    POWER_ON = 32  # pc: entry PA, value: x0
    POWER_OFF = 33
    EXCEPTION = 34  # value: ESR, pa: FAR, size: target EL
    MMU = 35  # value: SCTLR of the current EL after the write
    EL = 36  # value: the EL entered by ERET
    LAND = 37  # reached the landing symbol
    REGISTER = 38  # pa: Register, value: its value, at the LAND before it
    WAKE = 39
    MISUSE = 40  # value: index into the strings, pa: the address
    UNSUPPORTED = 41  # value: index into the strings
    LOG = 42  # value: index into the strings: one line of dmesg, pa: simulated ns
    OUTCOME = 43  # size: outcome.End, value: index into the strings: its name, pa: its number
    TAKE_OVER = 44  # the boot CPU as the secondaries should match it: REGISTER records follow
    EXPECT = 45  # size: Expect, value: what the host prepared for this CPU
    STOPPED = 47  # value: index into the strings: why the run was cut off
    TABLE = 48  # an entry of the table that secondaries scan; actor: its index, pc: its name in the strings
    MASKS = 49  # size: Mask bits of this CPU, pa: its hwid, value: its table entry, pc: PA of that, or 0
    WANTED = 50  # value: Wanted bits, what is asked of this CPU from now on; 0: nothing any more
    SHUTDOWN = 51  # the kernel's end begins, on this CPU: what comes until REENTRY is no boot
    REENTRY = 52  # actor: the CPU's number in the boot that begins, value: the one before, size 1: it is on
    COPY = 53  # pa, value: PA and number of the bytes that were copied over memory
    INSTRUCTIONS = (
        54  # value: how many rows of the chunks with tag 3 are next; size 1: a state, no instruction
    )
    STALE = 55  # the load that follows gets an old value; value: the newer one, pa and size: its place
    LOST = 56  # bytes that were stored are gone: pa, value: the u64 that they made
    LINE = 57  # the caches do something to the line at pa; value: index of caches.Choice
    LOST_WAKEUP = 58  # asleep at the end although it would go on; pa: the word that it looks at, 0: none
    LIVELOCK = 59  # from here on this CPU goes round for ever; pa: a word that it looks at, 0: none
    RACE = 60  # this CPU and that of the next RACE record can access pa now; size: bytes, and 0x80: it stores
    DEFERRED = 61  # value: index into the strings: a line of dmesg of CPU pa that comes out later
    FLUSHED = 62  # the lines that CPU pa has held come out: LOG records follow; pa 0xffff: of every CPU
    REPORT = 63  # actor: the CPU that it is about, size: Report, pa: its detail, value: as of the LOG before
    NEXT_BOOT = 64  # value: index into the strings: what the copies that follow put into memory
    INTERRUPT_LINE = 65  # value: a line of the device at PA pa; size: 1 when it has gone high
    SLOT = 66  # takes a slot behind the table of them; pa: its number, value: how many there are
    PROPERTY = 67  # value: index into the strings: a property that does not hold; pc: the label, or 0
    FETCH = 68  # executes the word (value) at pa, stored to in this run; size: CodeCaches of the CPU
    MAPPED = 69  # pa: of the address operand of the CACHE that follows, which is another number
    MILESTONE = 70  # size: Milestone, pa: the CPU that it is about; where times are recorded
    BOOT_MODE = 46  # value: __boot_cpu_mode[1] << 32 | __boot_cpu_mode[0], read when all is done


# Kinds that other actors can observe; the rest are events, there to read.
OPERATIONS = frozenset(k for k in Kind if k < Kind.POWER_ON)
# Of these, what stores and what loads; an atomic update does both.
STORES = (Kind.STORE, Kind.STORE_EXCLUSIVE, Kind.ATOMIC)
LOADS = (Kind.LOAD, Kind.LOAD_EXCLUSIVE, Kind.ATOMIC)


class CodeCaches(IntFlag):
    """What a CPU's CTR_EL0 says that code which was stored does without, before it is executed."""

    NO_CLEAN = 1  # IDC: cleaning of the data cache
    NO_INVALIDATE = 2  # DIC: invalidation of the instruction cache


class Register(IntEnum):
    """What is kept of a PE when it lands."""

    SP = 0
    SP_EL0 = 1
    TPIDR_EL1 = 2
    TPIDR_EL2 = 3
    VBAR_EL1 = 4
    TTBR0_EL1 = 5
    TTBR1_EL1 = 6
    TCR_EL1 = 7
    MAIR_EL1 = 8
    SCTLR_EL1 = 9
    EL = 10
    MPIDR_EL1 = 11
    X19 = 12
    # Of a CPU that was entered at EL2, all that init_el2 sets.
    HCR_EL2 = 13
    CPTR_EL2 = 14
    MDCR_EL2 = 15
    CNTHCTL_EL2 = 16
    CNTVOFF_EL2 = 17
    VTTBR_EL2 = 18
    HSTR_EL2 = 19
    SCTLR_EL2 = 20
    VBAR_EL2 = 21
    VPIDR_EL2 = 22
    VMPIDR_EL2 = 23
    CLIDR_EL1 = 24  # these where a CPU of the machine has another one than its core
    CTR_EL0 = 25
    MIDR_EL1 = 26  # where VPIDR_EL2 is another one
    WRITTEN_AT_EL2 = 27  # value: WrittenAtEl2


class WrittenAtEl2(IntFlag):
    """Registers that init_el2 sets and this CPU has written at EL2, of those whose value does not tell.

    That of the first three is the same here whatever is written; SCTLR_EL1 is written again at EL1.
    """

    ICC_SRE_EL2 = 1
    ICH_HCR_EL2 = 2
    LORC_EL1 = 4
    SCTLR_EL1 = 8
    HCR_EL2 = 16


class Expect(IntEnum):
    """What the host prepared, for the check on arrival (all VA but the EL and the flag)."""

    TASK = 0
    STACK_LOW = 1  # lowest byte
    STACK_HIGH = 2  # first byte above
    PER_CPU_OFFSET = 3
    VECTORS = 4
    ENTRY_EL = 5
    SECONDARY = 6  # 1 when the host meant to bring this CPU up
    FAULTY = (
        7  # 1 when it has been broken on purpose: it need not come up, but what becomes of it must be told
    )
    EARLY_STATUS = 8  # value: PA of __early_cpu_boot_status, pa: the first byte behind
    STUCK_52_BIT_VA = 9  # value: first PC (PA) of the loop, pa: the first byte behind
    STUCK_NO_GRAN = 10
    HWID = 11
    INDEX = 13  # 1: the look-up promises X19 = logical CPU number to slot_per_cpu, which keeps it
    PEN = 12  # value: PA of secondary_holding_pen, pa: the first byte behind


class Wanted(IntFlag):
    """What the boot CPU wants of a CPU after the boot."""

    ARRIVE = 1  # it is started: it is to come to secondary_start_kernel
    ONLINE = 2  # it should come online; if it does not, that has to be reported


class Report(IntEnum):
    """What the kernel's log says of a CPU. Values are the trace file's; append only."""

    BOOTED = 0
    NOT_ALIVE = 1  # failed to report alive state
    NOT_ONLINE = 2  # failed to come online
    FAILED = 3  # failed in another way
    STUCK = 4  # is stuck in kernel
    NO_52_BIT_VA = 5  # does not support it
    NO_GRANULE = 6  # does not support it; detail: KiB
    DIED = 7  # during early boot
    UNCLEAN = 8  # may not have shut down cleanly
    KILLED = 9
    CPU_PANIC = 10  # the kernel panics because of this CPU
    PANIC = 11  # this CPU panics, for another reason
    ACTION_FAILED = 12  # what was written to a file of this CPU in sysfs
    READ_ONLY = 13  # this CPU stores to read-only memory; detail: the VA


class Reported(NamedTuple):
    """What a line of the log says of ``cpu``, or of the one that logs it when that is -1.

    ``detail`` is what :class:`Report` says.
    """

    what: Report
    cpu: int = -1
    detail: int = 0


class Mask(IntFlag):
    """What a kernel and its firmware have a CPU down for, after a step of CPU hotplug."""

    POSSIBLE = 1
    PRESENT = 2
    ENABLED = 4  # registered with the driver core
    ONLINE = 8
    STA_PRESENT = 16  # _STA bit 0
    STA_ENABLED = 32  # _STA bit 1
    MAPPED = 64  # its number is in use, and so is its entry of the table
    CLEAN = 128  # who reads the table has the MMU off: each store to it is cleaned to the PoC


@dataclass(frozen=True, slots=True)
class Record:
    """One operation or event. ``pc`` is a VA, ``pa`` a PA, ``value`` a u64, ``size`` in bytes."""

    kind: Kind
    actor: int
    size: int
    pc: int
    pa: int
    value: int


# The operations, of host tasks and PEs alike. A host task yields them; the value sent back is given with
# each. Named tuples, because every operation is one and a frozen dataclass takes four times as long to make.


class Ordering(IntEnum):
    """What an access orders by itself (Arm DDI 0487, B2.3: acquire, acquirePC and release)."""

    NONE = 0
    ACQUIRE = 1  # LDAR, LDAXR
    ACQUIRE_PC = 2  # LDAPR
    RELEASE = 3  # STLR, STLXR


class Access(NamedTuple):
    """One load or store: ``pa``, ``size`` in bytes, and of a store the ``value`` (unsigned, of that size).

    :ivar cacheable: Normal cacheable memory; else the access goes past the caches, as firmware's do and those
        of a PE with its MMU off
    :ivar plain: an access that the kernel's C code makes without READ_ONCE(), WRITE_ONCE() or an atomic
    """

    pa: int
    size: int
    is_store: bool
    value: int = 0
    cacheable: bool = True
    plain: bool = False
    ordering: Ordering = Ordering.NONE


class Load(NamedTuple):
    """Read ``size`` bytes at ``pa``; gives the value."""

    pa: int
    size: int = 8
    cacheable: bool = True
    plain: bool = False


class LoadUntil(NamedTuple):
    """Spin: read until the word is ``value``, or not 0 when that is None; gives the value.

    Only stores of host tasks end it: no guest code writes a word that the host spins on.

    :ivar sleeps: a wait for a completion, in which the task sleeps
    """

    pa: int
    size: int = 8
    value: int | None = None
    sleeps: bool = False


class Poll(NamedTuple):
    """Look at a word now and then until it is ``value``, or not 0 when that is None.

    Gives the value that ended it, or None once more than ``timeout_ns`` have been waited. ``pauses`` has
    (ns waited, ns to the next look) pairs: the last whose first figure is reached holds.

    :ivar busy_ns: so long a store to the word ends a pause: the task looks all the time, or is woken
    :ivar sleeps: as of :class:`LoadUntil`
    """

    pa: int
    size: int
    value: int | None
    timeout_ns: int
    pauses: tuple[tuple[int, int], ...]
    busy_ns: int = 0
    sleeps: bool = False

    def is_over(self, value: int) -> bool:
        """Tell whether ``value`` is what is waited for."""
        return value == self.value or (self.value is None and value != 0)

    def pause(self, waited_ns: int) -> int:
        """Return the ns to the next look."""
        for after, pause in reversed(self.pauses):
            if waited_ns >= after:
                return pause
        raise AssertionError("the first pause is from the beginning")


class Store(NamedTuple):
    """Write the low ``size`` bytes of ``value`` at ``pa``."""

    pa: int
    value: int
    size: int = 8
    cacheable: bool = True
    plain: bool = False


class MemoryAccess(NamedTuple):
    """What one instruction of a PE loads and stores, in the order in which it does; DC ZVA is one too.

    Gives the value of the load, a tuple of several, or None when all are stores.
    """

    accesses: tuple[Access, ...]


class LoadExclusive(NamedTuple):
    """LDXR and its kind: arms the exclusive monitor; gives the value, or both of a pair.

    :ivar armed: the PA that it is armed for, when that is not the first access's: one part of a pair
    """

    accesses: tuple[Access, ...]
    armed: int = -1


class StoreExclusive(NamedTuple):
    """STXR and its kind; gives True when the monitor was armed for the granule and the store was made."""

    accesses: tuple[Access, ...]


class AtomicUpdate(NamedTuple):
    """Compare-and-exchange, or exchange when ``expected`` is None; gives the old value."""

    pa: int
    expected: int | None
    new: int
    size: int = 8


class Barrier(NamedTuple):
    """DSB or DMB; ``word`` is the instruction a kernel would execute."""

    word: int


class CacheOp(NamedTuple):
    """DC or IC by VA on the line of ``pa``; ``word`` is the instruction with Xt = XZR."""

    word: int
    pa: int


class Copy(NamedTuple):
    """Copy ``data`` over memory from ``pa`` on: a loader, whose source is nobody's concern."""

    pa: int
    data: bytes


class Reboot(NamedTuple):
    """Leave this boot: ``begin`` makes the next, between two picks. Does not return."""

    begin: Callable[[], None]


class SendEvent(NamedTuple):
    """SEV."""


class SendEventLocal(NamedTuple):
    """SEVL: set the event register of this CPU."""


class WaitForEvent(NamedTuple):
    """WFE: sleep until the event register is set.

    :ivar traps: without an event it is trapped to a higher level instead, and nobody sleeps
    """

    traps: bool = False


class SendInterrupt(NamedTuple):
    """Send ``cpu`` an interrupt: an SGI, by which the kernel wakes a parked CPU."""

    cpu: int


class WaitForInterrupt(NamedTuple):
    """WFI: sleep until an interrupt is pending, and take it."""


class FirmwareCall(NamedTuple):
    """SMC or HVC with x0..x3; gives x0 as a signed 64-bit value."""

    function_id: int
    x1: int = 0
    x2: int = 0
    x3: int = 0


class GuestCall(NamedTuple):
    """Run the guest's function at ``va`` on this CPU with x0.. given; gives x0 (u64) when it returns."""

    va: int
    arguments: tuple[int, ...] = ()


class Delay(NamedTuple):
    """Let ``ns`` of simulated time pass."""

    ns: int


class Park(NamedTuple):
    """Stop for good, with this outcome."""

    outcome: Outcome


class Invisible(NamedTuple):
    """Nothing that another CPU can observe: the host lands there, or the instruction raises an exception."""


class Log(NamedTuple):
    """One line of dmesg, and what it says of a CPU: an event, not an operation."""

    line: str
    reported: Reported | None = None


class DeferLog(NamedTuple):
    """One line of dmesg of CPU ``cpu``, which is not online: an event, not an operation.

    When it comes out: :mod:`emu.semantics.log`.
    """

    cpu: int
    line: str


class FlushDeferred(NamedTuple):
    """The lines that CPU ``cpu`` has held come out now, of every CPU when it is -1: an event."""

    cpu: int


class Again(NamedTuple):
    """The task is where it began, and has kept nothing: an event, not an operation."""


Operation = (
    Load
    | LoadUntil
    | Store
    | MemoryAccess
    | LoadExclusive
    | StoreExclusive
    | AtomicUpdate
    | Barrier
    | CacheOp
    | Copy
    | Reboot
    | SendEvent
    | SendEventLocal
    | WaitForEvent
    | SendInterrupt
    | WaitForInterrupt
    | FirmwareCall
    | GuestCall
    | Delay
    | Park
    | Invisible
    | Log
    | Again
    | DeferLog
    | FlushDeferred
    | Reach
    | Poll
)

EVENTS = (Log, Again, DeferLog, FlushDeferred, Reach)  # what a task yields that is no operation

DSB_SY = 0xD503_3F9F
DSB_ISHST = 0xD503_3A9F
DC_CIVAC = 0xD50B_7E3F

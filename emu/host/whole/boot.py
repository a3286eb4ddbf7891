"""A kernel that boots by itself: from a case of the whole depth to a machine, its log and its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from emu.arch.boot import DRAM_BASE
from emu.arch.flat_tree import texts, u64
from emu.case import TYPED, Case
from emu.errors import InvalidCase, InvalidSubject, Untestable
from emu.host.choices import BootConfig, parse_case
from emu.host.cpuhp import PATIENCE_NS
from emu.host.faults import CpuOn, Fault
from emu.host.firmware_tables import DTB_SIZE, hand_over_acpi
from emu.host.identity import check_identity, identity_of
from emu.host.kernel import BOOTARGS, check_firmware, id_registers_for, logical_map_of
from emu.host.platform import make_machine
from emu.host.psci import Psci
from emu.host.whole.arrivals import Arrivals
from emu.host.whole.board import Board, Typed
from emu.host.whole.choices import (
    check_faulted,
    check_tree,
    check_whole,
    controller_of,
    instructions_of,
    ram_of,
    scheduler_of,
)
from emu.host.whole.ending import POWEROFF, How, Until, exit_code, how_of_exit, parse_until
from emu.host.whole.given_tree import GivenTree, read_tree
from emu.host.whole.initramfs import read_initrd
from emu.host.whole.printk_ring import ring_lines
from emu.host.whole.told import Told
from emu.machine import Machine
from emu.machine.free_turns import ALONE, TURN, run_freely
from emu.machine.irq_delays import parse_irq_delays
from emu.machine.signals import interrupts_kept
from emu.memory import PAGE_SIZE, Memory
from emu.outcome import ONLINE
from emu.subject import is_flat
from emu.subject.flat import load_flat
from emu.subject.kernel import KernelImage, load_kernel
from emu.subject.kernel_files import is_kernel
from emu.topology.devicetree.write import write_devicetree

_ALIGN = 2 << 20
_INITRD_FROM_DTB = 4 << 20
# Bytes for the kernel's random number generator, the same for every run.
_SEED = bytes(range(64))
_PANIC = "panic"
_STDOUT = "stdout-path"  # of a device tree; ACPI has the SPCR
_RESET_AT_PANIC = "panic=-1"
_SECOND = 1_000_000_000  # ns


@dataclass(slots=True)
class Line:
    """A line of the console: the CPU that has sent its end, simulated ns, the text."""

    cpu: int
    time: int
    text: str


@dataclass(slots=True)
class WholeBoot:
    """A machine with a kernel about to run its first instruction.

    :ivar case: with its identity
    :ivar lines: of the console, so far
    :ivar on_line: is called with each line
    :ivar placed_end: PA, page aligned, behind all that the host has put into memory
    :ivar notes: what is in the user's device tree and not modelled
    :ivar panicked: the CPU that called panic(), -1: none has
    """

    case: Case
    config: BootConfig
    machine: Machine
    image: KernelImage
    board: Board
    until: Until
    arrivals: Arrivals
    firmware: Psci
    told: Told
    lines: list[Line] = field(default_factory=list)
    on_line: Callable[[Line], None] | None = None
    panicked: int = -1
    reached: bool = False
    exit_code: int = 0  # that a flat image has told
    is_shared: bool = False  # two CPUs have come with one stack
    placed_end: int = 0
    notes: tuple[str, ...] = ()

    def print(self, text: str) -> None:
        """Take a line of the console."""
        machine = self.machine
        cpu = max(machine.current, 0)
        self._take(Line(cpu, machine.time_of(cpu), text))
        self.told.console(cpu, machine.time_of(cpu), text)
        if self.image.is_flat:
            self.exit_code = exit_code(text) or self.exit_code
        if self.until.line and self.until.line in text:
            self._end()

    def read_log(self) -> None:
        """Where no console has printed anything, take the lines from the kernel's printk ring."""
        if self.lines:
            return
        for line in ring_lines(self.machine.memory, self.image, self.machine.actors[0].pe):
            self._take(Line(line.cpu, line.time, line.stamped))

    def _take(self, line: Line) -> None:
        self.lines.append(line)
        if self.on_line is not None:
            self.on_line(line)

    def _end(self) -> None:
        self.reached = True
        self._stop("it has come to where it was to end")

    def _stop(self, why: str) -> None:
        self.machine.stopped = why
        self.machine.engine.free.stop_behind()

    def stop_at(self, cpu: int, va: int) -> None:
        """Take notice that ``cpu`` is at a function that the run stops at."""
        free = self.machine.free
        assert free is not None
        if va == self.arrivals.landing:
            if not self.arrivals.land(cpu):
                self.is_shared = True
                self._stop("two CPUs on one stack")
        elif va == self.arrivals.take_over_at:
            self.arrivals.take_over(cpu, self._wanted(), self._excused())
            self.told.notes_early_status = True
            free.alone = TURN
        elif va == self.panic_at:
            self._panic(cpu)
        if va == self.until.symbol or (self.until.panic and self.panicked >= 0):
            self._end()

    def _panic(self, cpu: int) -> None:
        # It may wait for ever: with panic=0, or where the kernel has not read its command line yet.
        if self.panicked < 0:
            end = self.machine.time_of(cpu) + (1 + _panic_seconds(self.case)) * _SECOND
            self.machine.clock.set_timer(end, -1, partial(self._stop, "it has panicked"))
        self.panicked = cpu

    def _wanted(self) -> list[int]:
        # The CPUs that the kernel is to bring up: those that it accepts of firmware's list, up to maxcpus.
        logical = logical_map_of(self.config, self.image)
        return self.config.to_bring_up(logical, logical.disabled)

    def _excused(self) -> set[int]:
        # The CPUs that need not come, by what firmware does to them.
        faults, costs = self.firmware.faults, self.machine.costs
        return {
            cpu for cpu, found in faults.items() if any(_excuses(fault, costs[cpu].alive) for fault in found)
        } | {cpu for cpu, cost in costs.items() if cost.alive > PATIENCE_NS}

    def run(self) -> How:
        """Run to the end.

        :raises KeyboardInterrupt: the machine can be looked at
        """
        self.told.begin()
        self.machine.run()
        return self.how

    def name(self, va: int) -> str:
        """Return the name of what is at an address of code or data, VA or PA."""
        subject = self.image.subject
        return subject.symbols.describe_pc(va, subject.va_offset)

    def finish(self) -> None:
        """Put into the trace how every CPU ends; a run in which all are to be up is not cut off."""
        for cpu in self.arrivals.online():
            self.machine.actors[cpu].outcome = ONLINE
        if self.reached and self.until.is_brought_up:
            self.machine.stopped = ""
        self.machine.finish()

    @property
    def not_started(self) -> list[int]:
        """The CPUs that firmware was about to start, once more maybe, when the run ended."""
        return sorted({timer.cpu for timer in self.machine.clock.timers if timer.cpu >= 0 and timer.action})

    @property
    def panic_at(self) -> int:
        """VA of panic(), 0: it is not known."""
        return self.image.subject.symbols.address(_PANIC) or 0

    @property
    def how(self) -> How:
        """How the run has ended."""
        machine, firmware = self.machine, self.machine.power.shutdown
        if self.reached or (firmware and self.until.poweroff):
            return how_of_exit(self.exit_code)
        if self.is_shared:
            return How.FOUND
        if self.panicked >= 0:
            return How.PANIC
        if firmware:
            return How.SHUTDOWN
        if not machine.stopped:
            return How.STUCK
        is_at_bound = machine.free is not None and machine.free.is_at_bound
        return How.BOUND if is_at_bound or machine.instructions_left <= 0 else How.UNMODELLED


def run_to(boot: WholeBoot, start: str, option: str = "from") -> None:
    """Run ``boot`` to the first instruction of ``start``, as a CPU first gets to it. Nothing else changes.

    :param option: what names ``start``, for messages
    :raises InvalidCase: there is no such symbol, or the boot does not come to it
    """
    subject, machine = boot.image.subject, boot.machine
    if subject.symbols.address(start) is None:
        raise InvalidCase(f"{option}={start}: no symbol of the kernel")
    pa = subject.pa(start)
    machine.engine.free.halt_at([pa])
    with interrupts_kept() as kept:
        while machine.step():
            pe = machine.actors[machine.current].pe
            if (pe.translate(pe.pc) if pe.mmu_on else pe.pc) == pa:
                break
            if kept:
                raise KeyboardInterrupt
        else:
            raise InvalidCase(f"{option}={start}: the boot does not come to it: {boot.how.value}")
    machine.engine.free.halt_at(())


def _excuses(fault: Fault, alive_ns: int) -> bool:
    # A start that is late by less than the kernel waits is none that need not come.
    if type(fault).cpu_on is Fault.cpu_on:
        return fault.excuses
    request = CpuOn(0, 0, {}, 1, after_off=False, call=0, delay_ns=alive_ns)
    fault.cpu_on(request)
    return request.result is not None or request.starts != 1 or request.delay_ns > PATIENCE_NS


def build_whole(case: Case, typed: Typed | None = None) -> WholeBoot:
    """Return the machine of a case whose depth is whole.

    :param typed: gives what comes in at the console of a case whose input is ``-``
    :raises EmuError: the case breaks a rule, or its kernel cannot be loaded
    """
    config = parse_case(replace(case, scheduler=scheduler_of(case)))
    check_whole(config)
    tree = read_tree(Path(case.dtb), len(config.topology.cpus)) if case.dtb else None
    check_tree(case, tree)
    base = tree.ram[0] if tree else DRAM_BASE
    image = _load(case, base)
    check_firmware(config, image)
    check_faulted(config, image)
    until = parse_until(case.until or (POWEROFF if image.is_flat else ""), image.subject.symbols)
    initrd = read_initrd(case.initrd) if case.initrd else b""
    if case.input == TYPED and typed is None:
        why = "emu boot alone takes it, without --from and --record-from"
        raise InvalidCase(f"input={TYPED}: what is typed comes once: {why}")
    received = _read_input(case)
    identity = identity_of(case, {"subject": image.subject.identity})
    check_identity(case, identity)
    case = replace(case, identity=identity)
    size = tree.ram[1] if tree and not case.ram else ram_of(case, len(config.topology.cpus))
    memory = Memory(base, size)
    logical = config.logical(len(config.topology.cpus))
    config = replace(config, case=replace(case, instructions_max=instructions_of(case)))
    controller = tree.places.controller if tree else controller_of(case)
    gicv3 = controller == "gicv3"
    machine, psci = make_machine(
        config, logical, memory, lambda core: id_registers_for(image, core, gicv3=gicv3)
    )
    machine.trace.case = case.text()
    machine.record_times()
    machine.costs = config.latency.costs(len(machine.actors), logical.siblings)
    psci.costs, psci.suspends = machine.costs, True
    board = Board(
        machine,
        controller,
        received,
        tree.places if tree else None,
        typed if case.input == TYPED else None,
    )
    told = Told(machine, image)
    machine.watch = told
    boot = WholeBoot(case, config, machine, image, board, until, Arrivals(machine, image), psci, told)
    boot.notes = tuple(tree.said) if tree else ()
    board.on_line = boot.print
    _begin(boot, _place(boot, memory, initrd, tree))
    return boot


def _load(case: Case, base: int) -> KernelImage:
    path = Path(case.subject)
    if is_flat(path):
        if case.system_map:
            raise InvalidCase(
                f"system-map={case.system_map}: {case.subject} is a flat image, which has no symbols"
            )
        if base != DRAM_BASE:
            raise Untestable(
                f"dtb={case.dtb}: memory at {base:#x}: a flat image is linked for {DRAM_BASE:#x}"
            )
        return load_flat(path)
    if not is_kernel(path):
        raise InvalidSubject(
            f"{case.subject}: no arm64 kernel and no flat image; at depth {case.depth} one boots by itself"
        )
    system_map = Path(case.system_map) if case.system_map else None
    return load_kernel(path, system_map=system_map, load_base=base + _ALIGN)


def _read_input(case: Case) -> bytes:
    try:
        return Path(case.input).read_bytes() if case.input not in ("", TYPED) else b""
    except OSError as error:
        raise InvalidCase(f"input={case.input}: {error.strerror}") from None


def _place(boot: WholeBoot, memory: Memory, initrd: bytes, tree: GivenTree | None) -> int:
    # Write the image, the initrd and the device tree to memory; return the PA of the tree.
    image, case = boot.image, boot.case
    for segment in image.subject.segments:
        memory.write_bytes(segment.pa, segment.data)
    dtb_pa = (image.entry_pa + image.image_size + _ALIGN - 1) & -_ALIGN
    chosen = {"rng-seed": _SEED}
    if boot.board.places.uart_pa >= 0:
        chosen[_STDOUT] = texts(boot.board.stdout_path)
    if case.initrd:
        chosen |= _place_initrd(memory, case, initrd, dtb_pa + _INITRD_FROM_DTB)
    topology, board = boot.config.topology, boot.board
    if tree is not None:
        dtb = tree.write(memory.size, _bootargs(boot), chosen)
    elif topology.firmware == "acpi":
        dtb = hand_over_acpi(
            memory,
            topology,
            (dtb_pa + DTB_SIZE, _INITRD_FROM_DTB - DTB_SIZE),
            _bootargs(boot),
            chosen={name: value for name, value in chosen.items() if name != _STDOUT},
            devices=board.acpi_devices(),
        )
    else:
        dtb = write_devicetree(
            topology,
            dram_base=memory.base,
            dram_size=memory.size,
            bootargs=_bootargs(boot),
            chosen=chosen,
            nodes=board.nodes(),
            interrupt_parent=board.interrupt_parent,
        )
    memory.write_bytes(dtb_pa, dtb)
    end = dtb_pa + _INITRD_FROM_DTB + len(initrd)
    boot.placed_end = min((end + PAGE_SIZE - 1) & -PAGE_SIZE, memory.base + memory.size)
    return dtb_pa


def _place_initrd(memory: Memory, case: Case, data: bytes, pa: int) -> dict[str, bytes]:
    if not memory.contains(pa, len(data) or 1):
        raise InvalidCase(f"initrd={case.initrd}: {len(data)} bytes do not fit into memory (--ram)")
    memory.write_bytes(pa, data)
    return {"linux,initrd-start": u64(pa), "linux,initrd-end": u64(pa + len(data))}


def _bootargs(boot: WholeBoot) -> str:
    # Those of a flat image are its own. A kernel that panics resets the board at once, unless the user says
    # otherwise: it would look for help for ever.
    case = boot.case
    if boot.image.is_flat:
        return case.append
    words = case.append.split()
    return " ".join([BOOTARGS, *([] if _panics(case) else [_RESET_AT_PANIC]), *words])


def _panics(case: Case) -> list[str]:
    # The values of panic= of the user's command line.
    return [word.removeprefix("panic=") for word in case.append.split() if word.startswith("panic=")]


def _panic_seconds(case: Case) -> int:
    # How long a kernel that panics waits before it resets the machine, if it will.
    last = _panics(case)[-1:]
    return min(int(last[0]), 1 << 20) if last and last[0].isdecimal() else 0


def _begin(boot: WholeBoot, dtb_pa: int) -> None:
    # Let CPU 0 stand at the first byte of the image, as booting.rst has it.
    machine = boot.machine
    free = run_freely(machine, boot.board.timer, boot.stop_at)
    machine.power.enter(0, boot.image.entry_pa, dtb_pa)
    pe = machine.actors[0].pe
    for number in (1, 2, 3):
        pe.x[number] = 0
    free.turn = boot.case.turn or free.turn
    if boot.arrivals.take_over_at and machine.entry_el < 2:  # EL2 may move a timer (CNTVOFF_EL2)
        free.alone = ALONE  # up to there nothing comes of when a line of the log is seen
    free.delays = parse_irq_delays(boot.case.irq_late)
    arrivals = boot.arrivals
    for va in sorted({boot.until.symbol, boot.panic_at, arrivals.landing, arrivals.take_over_at} - {0}):
        machine.engine.break_at(va)

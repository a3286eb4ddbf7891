"""Scripts of accesses to an interrupt controller: CPUs take turns, and each answer is kept.

A script runs on QEMU's virt, by a small program that walks it, and on a controller of emu.
"""

from __future__ import annotations

import mmap
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from reference.qemu import PROGRAM
from reference.world import assemble

from emu.arch.counter import ns_of
from emu.arch.sysreg import Encoding
from emu.devices.controllers import CONTROLLERS
from emu.devices.protocol import NO_CPU, Board
from emu.devices.timer import GenericTimer

RAM_BASE, RAM_SIZE = 0x4000_0000, 32 << 20
_CODE, _INDEX, _SCRIPT = 0x4100_0000, 0x4110_0000, 0x4111_0000
_OP = struct.Struct(
    "<IIQQQ"
)  # CPU, size or 0 for a system register, and whether it reads; place; value; answer
_NOBODY = 0xFFFF_FFFF
_SECONDS = 120.0
# Where virt has the regions of its controllers, and its UART.
REGIONS = {
    "gicv2": {"distributor": (0x0800_0000, 0x1000), "cpu-interface": (0x0801_0000, 0x2000)},
    "gicv3": {"distributor": (0x0800_0000, 0x1_0000), "redistributors": (0x080A_0000, 0xF6_0000)},
}
_UART, _UART_DR, _UART_IMSC, _UART_INTID = 0x0900_0000, 0x00, 0x38, 33
_TXIM = 1 << 5
ISR_EL1: Encoding = (3, 0, 12, 1, 0)
_NOW = ns_of(1 << 22)  # on emu; QEMU gets there in less than 34 s, which is 2**31 ticks
_CTL: dict[int, Encoding] = {30: (3, 3, 14, 2, 1), 27: (3, 3, 14, 3, 1)}  # by INTID of the timer


@dataclass(frozen=True)
class Op:
    """What one CPU does: an access of a register, or a change of a line.

    :ivar place: PA, or a system register, or the INTID of a line: 27 and 30 of the CPU, or 33
    :ivar value: what is written; None: it is read
    :ivar size: bytes at a PA
    """

    cpu: int
    place: int | Encoding
    value: int | None = None
    size: int = 4


def _walker(registers: tuple[Encoding, ...], cpus: int) -> str:
    # x20 the CPU, x21 the index' PA, x22 the script; an op: w10 CPU, w11 what, x12 place, x13 value.
    stubs = "\n".join(
        f".balign 16\nmrs x14, {_name(each)}\nb answer\n.balign 16\nmsr {_name(each)}, x13\nb answer"
        for each in registers
    )
    return f"""
        mov x20, #0
    next_cpu:
        add x20, x20, #1
        cmp x20, #{cpus}
        b.hs first
        ldr x0, =0xc4000003
        {_mpidr("x1", "x20")}
        adr x2, start
        mov x3, x20
        hvc #0
        b next_cpu
    first:
        mov x0, #0
    start:
        mov x20, x0
        ldr x21, ={_INDEX:#x}
        ldr x22, ={_SCRIPT:#x}
        adr x24, stubs
    loop:
        ldr x9, [x21]
        add x15, x22, x9, lsl #5
        ldr w10, [x15]
        ldr w11, [x15, #4]
        ldp x12, x13, [x15, #8]
        mov x14, #0
        cmn w10, #1
        b.eq end
        cmp w10, w20
        b.eq mine
        yield
        b loop
    mine:
        and w16, w11, #0xff
        cbz w16, system
        tbnz w11, #8, read
        cmp w16, #4
        b.eq 1f
        strb w13, [x12]
        b answer
    1:  str w13, [x12]
        b answer
    read:
        cmp w16, #4
        b.eq 1f
        ldrb w14, [x12]
        b answer
    1:  ldr w14, [x12]
        b answer
    system:
        add x12, x24, x12, lsl #4
        br x12
    answer:
        isb
        str x14, [x15, #24]
        add x9, x9, #1
        dsb sy
        str x9, [x21]
        b loop
    end:
        cbnz x20, halt
        ldr x0, =0x84000008
        hvc #0
    halt:
        wfi
        b halt
        .balign 16
    stubs:
        {stubs}
        .ltorg
    """


def _mpidr(to: str, cpu: str) -> str:
    # Aff1 and Aff0 of CPUs in clusters of 16, or of 8 which there are no more of.
    return f"and {to}, {cpu}, #15\n lsr x5, {cpu}, #4\n orr {to}, {to}, x5, lsl #8"


def hwids(cpus: int) -> tuple[int, ...]:
    """Return the affinities of virt's CPUs."""
    return tuple(cpu >> 4 << 8 | cpu & 15 for cpu in range(cpus))


def _name(encoding: Encoding) -> str:
    op0, op1, crn, crm, op2 = encoding
    return f"s{op0}_{op1}_c{crn}_c{crm}_{op2}"


@cache
def _code(registers: tuple[Encoding, ...], cpus: int) -> bytes:
    return assemble(_walker(registers, cpus))


def on_qemu(name: str, cpus: int, script: list[Op]) -> list[int]:
    """Return what each op reads on QEMU; 0 of one that writes."""
    written = [part for op in script for part in _lowered(op)]
    used = tuple(sorted({place for _, place, _, _ in written if isinstance(place, tuple)}))
    ops = b"".join(_packed(used, *part) for part in written) + _OP.pack(_NOBODY, 0, 0, 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ram"
        with path.open("w+b") as file:
            file.truncate(RAM_SIZE)
            ram = mmap.mmap(file.fileno(), 0)
        for pa, data in ((_CODE, _code(used, cpus)), (_SCRIPT, ops)):
            ram[pa - RAM_BASE : pa - RAM_BASE + len(data)] = data
        _run(name, cpus, path)
        end = _SCRIPT - RAM_BASE + _OP.size * len(written)
        answers = [_OP.unpack_from(ram, at)[4] for at in range(_SCRIPT - RAM_BASE, end, _OP.size)]
        done = int.from_bytes(ram[_INDEX - RAM_BASE : _INDEX - RAM_BASE + 8], "little")
        ram.close()
    assert done == len(written), f"QEMU has done {done} of {len(written)} accesses"
    ends = [number for number, op in enumerate(script) for _ in _lowered(op)]
    return [answers[len(ends) - 1 - ends[::-1].index(number)] for number in range(len(script))]


def _run(name: str, cpus: int, ram: Path) -> None:
    command = [PROGRAM, "-nodefaults", "-no-user-config", "-nic", "none", "-display", "none"]
    command += ["-serial", "null", "-accel", "tcg,thread=single", "-cpu", "cortex-a72", "-smp", str(cpus)]
    machine = f"virt,gic-version={name[-1]},its=off,memory-backend=ram"
    command += ["-m", f"{RAM_SIZE >> 20}M", "-machine", machine]
    command += ["-object", f"memory-backend-file,id=ram,size={RAM_SIZE >> 20}M,mem-path={ram},share=on"]
    command += ["-device", f"loader,addr={_CODE:#x},cpu-num=0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, done.stderr


def _lowered(op: Op) -> list[tuple[int, int | Encoding, int | None, int]]:
    # What the walker does of it: accesses alone. A timer whose CVAL is 0 has fired: its mask is its line.
    if isinstance(op.place, int) and op.place < 1024:
        assert op.value is not None
        if op.place == _UART_INTID:
            imsc = _UART + _UART_IMSC, _TXIM if op.value else 0, 4
            return [(op.cpu, _UART + _UART_DR, 0x20, 4), (op.cpu, *imsc)]
        return [(op.cpu, _CTL[op.place], 1 if op.value else 3, 4)]
    return [(op.cpu, op.place, op.value, op.size)]


def _packed(
    used: tuple[Encoding, ...], cpu: int, place: int | Encoding, value: int | None, size: int
) -> bytes:
    is_read = value is None
    if isinstance(place, tuple):
        return _OP.pack(cpu, 0, 2 * used.index(place) + (not is_read), value or 0, 0)
    return _OP.pack(cpu, size | is_read << 8, place, value or 0, 0)


class OnEmu:
    """A controller of emu, an op at a time."""

    def __init__(self, name: str, cpus: int) -> None:
        self.controller = CONTROLLERS[name].controller(Board(hwids=hwids(cpus)))
        self._timer = GenericTimer(Board(hwids=hwids(cpus)))
        devices = self.controller.regions()
        self._regions = [(base, size, devices[region]) for region, (base, size) in REGIONS[name].items()]

    def do(self, op: Op) -> int:
        """Return what the op reads; 0 of one that writes."""
        if op.place == ISR_EL1:
            return self.controller.has_irq(op.cpu) << 7 | self.controller.has_fiq(op.cpu) << 6
        if isinstance(op.place, tuple):
            is_timer = op.place in self._timer.encodings
            registers: Any = self._timer if is_timer else self.controller
            if op.value is None:
                return registers.read(op.cpu, op.place, _NOW)
            registers.write(op.cpu, op.place, op.value, _NOW)
        elif op.place < 1024:
            cpu = NO_CPU if op.place == _UART_INTID else op.cpu
            self.controller.set_line(op.place, cpu, bool(op.value))
        else:
            return self._access(op.place, op)
        return 0

    def _access(self, pa: int, op: Op) -> int:
        base, device = next(
            (base, device) for base, size, device in self._regions if base <= pa < base + size
        )
        if op.value is None:
            return device.load(op.cpu, pa - base, op.size, 0)
        device.store(op.cpu, pa - base, op.size, op.value, 0)
        return 0


def on_emu(name: str, cpus: int, script: list[Op]) -> list[int]:
    """Return what each op reads on emu's controller; 0 of one that writes."""
    emulated = OnEmu(name, cpus)
    return [emulated.do(op) for op in script]

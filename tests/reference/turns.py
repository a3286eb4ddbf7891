"""Flat images whose CPUs take turns: each step of a script is one CPU's, and its answer is kept in memory.

Where :mod:`reference.interrupt_script` compares controllers, here CPUs take the interrupts: a step may open a
window in which PSTATE lets them through, sleep in WFI, or call firmware. So the whole machine is compared.
"""

from __future__ import annotations

import mmap
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reference.qemu import PROGRAM
from reference.world import assemble

from emu.arch.sysreg import Encoding
from emu.case import Case
from emu.host.whole.boot import build_whole
from emu.host.whole.ending import How

READ, WRITE, SYSTEM, WINDOW, SLEEP, CALL, WAIT_FOR_EVENT, SEND_EVENT, POLL = range(9)
CPU_OFF, CPU_ON, AFFINITY_INFO, SYSTEM_OFF = 0x8400_0002, 0xC400_0003, 0xC400_0004, 0x8400_0008
ON_AGAIN = 0x777  # as the entry of CPU_ON: the image's own, with the CPU's number as context
_RAM, _BASE, _SCRIPT = 0x4000_0000, 0x4008_0000, 0x4009_0000
_RAM_MIB, _SECONDS = 64, 60.0
_STEP = struct.Struct("<IIQQQQQQQ")  # CPU, kind, four operands, three answers
_NOBODY = 0xFFFF_FFFF
_TAKEN_MAX = 40  # interrupts of a window
# An interrupt reaches a CPU here at the time of its sender. So turns are short, and a CPU looks later.
_TURN, _LOOKS_LATER = 400, 600

Answer = tuple[int, int, int]


@dataclass(frozen=True)
class Step:
    """What one CPU does.

    :ivar place: of READ and WRITE the PA, of SYSTEM the register, of CALL the function
    :ivar is_read: of SYSTEM
    :ivar value: what is written; of CALL X1; of POLL what AFFINITY_INFO of ``place`` comes to
    :ivar size: bytes at a PA; of CALL X2
    :ivar more: of CALL X3
    """

    cpu: int
    kind: int
    place: int | Encoding = 0
    value: int = 0
    size: int = 4
    more: int = 0
    is_read: bool = False


@dataclass(frozen=True)
class Setting:
    """A machine: its CPUs and what they are, controller 2 or 3, and the level they run at."""

    cpus: int
    gic: int
    el: int
    cpu: str = "cortex-a72"

    @property
    def conduit(self) -> str:
        """How firmware is called."""
        return "smc" if self.el == 2 else "hvc"


# By controller: acknowledge into X0, bit 11 says that it is of group 0 of a GICv3; end X0.
_ACKNOWLEDGE = {
    2: "ldr x9, =0x08010000\n ldr w0, [x9, #0xc]",
    3: "mrs x0, s3_0_c12_c12_0\n cmp x0, #1020\n b.lo 7f\n mrs x0, s3_0_c12_c8_0\n orr x0, x0, #1 << 11\n 7:",
}
_END = {
    2: "str w0, [x9, #0x10]",
    3: "tbnz x0, #11, 7f\n msr s3_0_c12_c12_1, x0\n b 8f\n7: and x1, x0, #0x3ff\n msr s3_0_c12_c8_1, x1\n 8:",
}
# HCR_EL2: RW, IMO, FMO, AMO; EL1's counters are not trapped.
_AT_EL2 = "mov x0, #0x38\n movk x0, #0x8000, lsl #16\n msr hcr_el2, x0\n mov x0, #3\n msr cnthctl_el2, x0"


def _widths(name: str, narrow: str, wide: str) -> str:
    # The code of READ or WRITE, by size.
    accesses = ((1, f"{narrow}b w13"), (2, f"{narrow}h w13"), (8, f"{wide} x13"), (4, f"{wide} w13"))
    code = "".join(
        f"cmp x14, #{size}\n b.ne 1f\n {access}, [x12]\n mov x0, x13\n b answer\n 1:"
        for size, access in accesses
    )
    return f"{name}: {code}"


@cache
def _code(registers: tuple[Encoding, ...], setting: Setting, waits: str) -> bytes:
    """Return the image: X20 is the CPU, X21 leads to the step's number, X22 to the script, X25 to its own."""
    names = [f"s{op0}_{op1}_c{crn}_c{crm}_{op2}" for op0, op1, crn, crm, op2 in registers]
    stubs = "\n".join(
        f".balign 16\n mrs x0, {name}\n b answer\n .balign 16\n msr {name}, x13\n b answer" for name in names
    )
    kinds = ("read", "write", "system", "window", "sleep", "call", "wait", "send", "poll")
    vectors = "\n".join(
        f".balign 128\n mov x26, #{number}\n b {'taken' if number % 4 in (1, 2) else 'bad'}"
        for number in range(16)
    )
    call, el = f"{setting.conduit} #0", f"el{setting.el}"
    return assemble(f"""
        mov x20, #0
    next:
        add x20, x20, #1
        cmp x20, #{setting.cpus}
        b.hs first
        ldr x0, ={CPU_ON:#x}
        mov x1, x20
        adr x2, start
        mov x3, x20
        {call}
        b next
    first:
        mov x0, #0
    start:
        mov x20, x0
        adr x1, vectors
        msr vbar_{el}, x1
        {_AT_EL2 if setting.el == 2 else ""}
        msr daifset, #15
        adr x21, number
        ldr x22, ={_SCRIPT:#x}
        mov x23, #{_STEP.size}
        adr x25, own
        add x25, x25, x20, lsl #8
    loop:
        ldr x9, [x21]
        madd x15, x9, x23, x22
        ldp w10, w11, [x15]
        ldp x12, x13, [x15, #8]
        ldp x14, x16, [x15, #24]
        cmn w10, #1
        b.eq end
        cmp w10, w20
        b.eq mine
        {waits}
        b loop
    mine:
        mov x0, #{_LOOKS_LATER}
    later:
        subs x0, x0, #1
        b.ne later
        mov x1, #0
        mov x2, #0
        mov x27, #0
        mov x28, #0
        adr x17, kinds
        ldrsw x18, [x17, w11, uxtw #2]
        add x17, x17, x18
        br x17
    kinds: .word {", ".join(f"{name} - kinds" for name in kinds)}
        {_widths("read", "ldr", "ldr")}
        {_widths("write", "str", "str")}
    system:
        adr x24, stubs
        add x12, x24, x12, lsl #4
        br x12
    window:
        msr daifclr, #3
        isb
        nop
        nop
        msr daifset, #3
        isb
        mov x0, x27
        mov x1, x28
        mrs x2, isr_el1
        b answer
    sleep:
        mrs x2, isr_el1
        cbz x2, answer
        wfi
        b answer
    call:
        str x15, [x25]
        mov x0, x12
        mov x1, x13
        mov x2, x14
        mov x3, x16
        adr x4, start
        cmp x2, #{ON_AGAIN:#x}
        csel x2, x4, x2, eq
        ldr w6, ={CPU_OFF:#x}
        cmp w0, w6
        b.ne 1f
        ldr x9, [x21]
        add x9, x9, #1
        dsb sy
        str x9, [x21]
    1:  {call}
        ldr x15, [x25]
        mrs x2, isr_el1
        b answer
    wait:
        sevl
        wfe
        sev
        wfe
        b answer
    send:
        sev
        b answer
    poll:
        ldr x0, ={AFFINITY_INFO:#x}
        mov x1, x12
        mov x2, #0
        {call}
        cmp x0, x13
        b.ne poll
        mov x1, #0
    answer:
        isb
        stp x0, x1, [x15, #40]
        str x2, [x15, #56]
        ldr x9, [x21]
        add x9, x9, #1
        dsb sy
        str x9, [x21]
        b loop
    end:
        cbnz x20, halt
        ldr x0, ={SYSTEM_OFF:#x}
        {call}
    halt:
        wfi
        b halt
    taken:
        stp x0, x1, [x25, #16]
        stp x9, x2, [x25, #32]
        {_ACKNOWLEDGE[setting.gic]}
        and x1, x0, #0xfff
        and x2, x26, #3
        orr x1, x2, x1, lsl #2
        orr x27, x1, x27, lsl #14
        add x28, x28, #1
        and x1, x0, #0x3ff
        mov x2, #3
        cmp x1, #27
        b.ne 1f
        msr cntv_ctl_el0, x2
    1:  cmp x1, #30
        b.ne 1f
        msr cntp_ctl_el0, x2
    1:  cmp x1, #33
        b.ne 1f
        ldr x2, =0x09000000
        str wzr, [x2, #0x38]
    1:  cmp x1, #1020
        b.hs 1f
        {_END[setting.gic]}
        isb
    1:  cmp x28, #{_TAKEN_MAX}
        b.lo 1f
        mrs x0, spsr_{el}
        orr x0, x0, #0xc0
        msr spsr_{el}, x0
    1:  ldp x0, x1, [x25, #16]
        ldp x9, x2, [x25, #32]
        eret
    bad:
        mrs x28, esr_{el}
        mrs x0, elr_{el}
        add x0, x0, #4
        msr elr_{el}, x0
        eret
        .ltorg
    stubs: {stubs}
        .balign 8
    number: .quad 0
        .balign 256
    own: .space 256 * {setting.cpus}
        .balign 2048
    vectors: {vectors}
    """)


def _image(script: list[Step], setting: Setting, waits: str) -> bytes:
    registers = tuple(sorted({step.place for step in script if isinstance(step.place, tuple)}))
    code = _code(registers, setting, waits)
    assert len(code) <= _SCRIPT - _BASE
    steps = b"".join(
        _STEP.pack(
            step.cpu,
            step.kind,
            2 * registers.index(step.place) + (not step.is_read)
            if isinstance(step.place, tuple)
            else step.place,
            *(step.value, step.size, step.more, 0, 0, 0),
        )
        for step in script
    )
    return code.ljust(_SCRIPT - _BASE, b"\0") + steps + _STEP.pack(_NOBODY, *[0] * 8)


def _answers(data: bytes) -> list[Answer]:
    return [_STEP.unpack_from(data, at)[6:] for at in range(0, len(data), _STEP.size)]


def on_qemu(script: list[Step], setting: Setting) -> list[Answer]:
    """Return the answers of QEMU's virt."""
    with tempfile.TemporaryDirectory() as folder:
        path, ram = Path(folder) / "script.flat", Path(folder) / "ram"
        path.write_bytes(_image(script, setting, "yield"))
        with ram.open("w+b") as file:
            file.truncate(_RAM_MIB << 20)
        machine = f"virt,gic-version={setting.gic},virtualization={'on' if setting.el == 2 else 'off'}"
        machine += ",memory-backend=ram" + (",its=off" if setting.gic == 3 else "")
        backend = f"memory-backend-file,id=ram,size={_RAM_MIB}M,mem-path={ram},share=on"
        command = [PROGRAM, "-nodefaults", "-no-user-config", "-nic", "none", "-display", "none"]
        command += ["-serial", "null", "-accel", "tcg,thread=single", "-cpu", setting.cpu]
        command += ["-smp", str(setting.cpus), "-m", f"{_RAM_MIB}M", "-machine", machine]
        command += ["-object", backend, "-kernel", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        assert done.returncode == 0, done.stderr
        with ram.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
            return _answers(data[_SCRIPT - _RAM :][: _STEP.size * len(script)])


def on_emu(script: list[Step], setting: Setting, folder: Path) -> list[Answer]:
    """Return the answers here."""
    path = folder / "script.flat"
    path.write_bytes(_image(script, setting, "nop"))
    choices = {"gic": f"gicv{setting.gic}", "el": setting.el, "cpu": setting.cpu, "turn": _TURN}
    choices |= {"conduit": setting.conduit, "instructions_max": 200_000_000}
    boot = build_whole(Case(str(path), topology=f"flat:{setting.cpus}", depth="whole", **choices))  # type: ignore[arg-type]
    assert boot.run() is How.REACHED, boot.machine.stopped
    return _answers(boot.machine.memory.read_bytes(_SCRIPT, _STEP.size * len(script)))

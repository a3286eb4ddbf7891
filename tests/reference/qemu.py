"""QEMU's system emulation as a reference, driven through its gdbstub.

One process runs many programs: :meth:`Qemu.reset` gives the reset state back. RAM is a file that both sides
map, so data costs no packet; code that QEMU may have translated has to be written through the stub, which
drops the translation (:meth:`Qemu.write_code`).
"""

from __future__ import annotations

import mmap
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

PROGRAM = "qemu-system-aarch64"
RAM_BASE = 0x4000_0000  # PA, of the machine "virt"
_ANSWER_SECONDS = 60.0  # a guest that waits for ever is interrupted after _RUN_SECONDS
_RUN_SECONDS = 5.0
_PACKET_BYTES = 1024
_GENERAL = struct.Struct("<33QI")
_CPSR = 33  # the stub's number of PSTATE; X0..X30, SP and PC are 0..32, V0 is 34


class ReferenceError(Exception):
    """The stub did not answer as its protocol says."""


class General(NamedTuple):
    """What the stub's ``g`` gives: X0..X30, SP, PC, and PSTATE as SPSR has it."""

    x: tuple[int, ...]
    sp: int
    pc: int
    pstate: int


class Stub:
    """The gdb remote protocol over a connected socket.

    Answers are not acknowledged: QEMU takes the next packet for that.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(_ANSWER_SECONDS)
        self._received = bytearray()

    def ask(self, packet: str) -> str:
        """Send a packet and return the answer."""
        self.send(packet)
        return self.answer()

    def do(self, packet: str) -> None:
        """Send a packet that is answered by OK."""
        answer = self.ask(packet)
        if answer != "OK":
            raise ReferenceError(f"{packet[:60]}: {answer!r}")

    def send(self, packet: str) -> None:
        """Send a packet."""
        data = packet.encode()
        self._socket.sendall(b"$%b#%02x" % (data, sum(data) & 0xFF))

    def answer(self) -> str:
        """Return the next answer, with its run lengths and escapes undone."""
        while True:
            start = self._received.find(b"$")
            end = self._received.find(b"#", start) if start >= 0 else -1
            if end >= 0 and len(self._received) >= end + 3:
                break
            data = self._socket.recv(65536)
            if not data:
                raise ReferenceError("the connection was closed")
            self._received += data
        body = bytes(self._received[start + 1 : end])
        del self._received[: end + 3]
        return _plain(body).decode("latin-1")

    def interrupted_answer(self) -> str:
        """Return the answer to a continue; a guest that does not stop by itself is interrupted."""
        self._socket.settimeout(_RUN_SECONDS)
        try:
            return self.answer()
        except TimeoutError:
            self._socket.settimeout(_ANSWER_SECONDS)
            self._socket.sendall(b"\x03")
            self.answer()
            return ""
        finally:
            self._socket.settimeout(_ANSWER_SECONDS)


def _plain(body: bytes) -> bytes:
    out = bytearray()
    index = 0
    while index < len(body):
        byte = body[index]
        if byte == ord("}"):
            index += 1
            out.append(body[index] ^ 0x20)
        elif byte == ord("*"):
            index += 1
            out += out[-1:] * (body[index] - 29)
        else:
            out.append(byte)
        index += 1
    return bytes(out)


class Qemu:
    """One CPU of QEMU, stopped unless it is told to run.

    :ivar ram: the machine's RAM from RAM_BASE on
    :ivar system_registers: the stub's number of each system register that it has, by name
    """

    def __init__(self, stub: Stub, ram: mmap.mmap) -> None:
        self.stub = stub
        self.ram = ram
        stub.ask("qSupported:xmlRegisters=arm")
        stub.do("Qqemu.sstep=1")  # a step takes interrupts and lets timers run, as any instruction does
        stub.do("Qqemu.PhyMemMode:1")
        self.system_registers = self._read_system_registers()

    # -- memory -----------------------------------------------------------------------------------

    def read(self, pa: int, size: int) -> bytes:
        """Return ``size`` bytes of RAM at ``pa``."""
        return self.ram[pa - RAM_BASE : pa - RAM_BASE + size]

    def write(self, pa: int, data: bytes) -> None:
        """Write RAM that holds no code which has run."""
        self.ram[pa - RAM_BASE : pa - RAM_BASE + len(data)] = data

    def write_code(self, pa: int, data: bytes) -> None:
        """Write RAM through the stub: translations of what was there are dropped."""
        for start in range(0, len(data), _PACKET_BYTES):
            part = data[start : start + _PACKET_BYTES]
            self.stub.do(f"M{pa + start:x},{len(part):x}:{part.hex()}")

    # -- registers --------------------------------------------------------------------------------

    def general(self) -> General:
        """Return the general registers."""
        values = _GENERAL.unpack(bytes.fromhex(self.stub.ask("g"))[: _GENERAL.size])
        return General(values[:31], values[31], values[32], values[33])

    def set_general(self, registers: General) -> None:
        """Set X0..X30, SP and PC, and PSTATE first: it says which SP."""
        self.stub.do(f"P{_CPSR:x}={struct.pack('<I', registers.pstate).hex()}")
        packed = _GENERAL.pack(*registers.x, registers.sp, registers.pc, registers.pstate)
        answer = self.stub.ask("g")
        self.stub.do("G" + packed.hex() + answer[2 * _GENERAL.size :])

    def system_register(self, name: str) -> int:
        """Return a system register by its name in QEMU: ``ESR_EL1``."""
        answer = self.stub.ask(f"p{self.system_registers[name]:x}")
        return int.from_bytes(bytes.fromhex(answer), "little")

    def _read_system_registers(self) -> dict[str, int]:
        text = self._read_feature("target.xml")
        names = re.findall(r'<xi:include href="([^"]+)"', text)
        found: dict[str, int] = {}
        for name in names:
            if "system" in name:
                for register in re.findall(r"<reg ([^>]*)/>", self._read_feature(name)):
                    fields = dict(re.findall(r'(\w+)="([^"]*)"', register))
                    found[fields["name"]] = int(fields["regnum"])
        return found

    def _read_feature(self, name: str) -> str:
        text = ""
        while True:
            answer = self.stub.ask(f"qXfer:features:read:{name}:{len(text):x},800")
            text += answer[1:]
            if answer[:1] != "m":
                return text

    # -- running ----------------------------------------------------------------------------------

    def reset(self) -> None:
        """Reset the machine; RAM is kept but for QEMU's own device tree at its start."""
        self.stub.ask("qRcmd," + b"system_reset".hex())

    def step(self) -> None:
        """Run one instruction."""
        self.stub.ask("s")

    def go(self) -> bool:
        """Run up to a breakpoint; False when there was none and the guest had to be interrupted."""
        self.stub.send("c")
        return bool(self.stub.interrupted_answer())

    def break_at(self, va: int) -> None:
        """Stop before the instruction at ``va``."""
        self.stub.do(f"Z0,{va:x},4")

    def unbreak(self, va: int) -> None:
        """Forget the breakpoint."""
        self.stub.do(f"z0,{va:x},4")


def missing() -> str:
    """Return why there is no reference on this machine; empty: there is."""
    return "" if shutil.which(PROGRAM) else f"{PROGRAM} is missing: apt-get install qemu-system-arm"


def console_of(
    kernel: Path,
    machine: str,
    cpus: int,
    append: str,
    seconds: float = 300,
    *,
    cpu: str = "cortex-a72",
    ram_mib: int = 256,
    last: str = "",
) -> str:
    """Return what ``-kernel`` prints on the machine "virt" until it ends, or a line with ``last`` comes.

    :param machine: QEMU's words for it, ``virt,gic-version=3``
    :raises subprocess.TimeoutExpired: it takes longer than so many seconds
    """
    command = [
        *(PROGRAM, "-M", machine, "-cpu", cpu, "-smp", str(cpus), "-m", str(ram_mib)),
        *("-nographic", "-nic", "none", "-no-reboot", "-kernel", str(kernel), "-append", append),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        late = threading.Event()
        timer = threading.Timer(seconds, lambda: (late.set(), child.kill()))
        timer.start()
        try:
            assert child.stdout is not None
            printed = []
            for line in child.stdout:
                printed.append(line.decode(errors="replace"))
                if last and last in printed[-1]:
                    break
        finally:
            timer.cancel()
            child.kill()
    if late.is_set():
        raise subprocess.TimeoutExpired(command, seconds)
    return "".join(printed)


@contextmanager
def started(*, cpu: str, el: int, gic: int = 2, ram_mib: int = 64) -> Iterator[Qemu]:
    """Start QEMU with one stopped CPU of the machine "virt" and end it afterwards.

    :param cpu: QEMU's name of the model: ``cortex-a72``
    :param el: exception level that the CPU resets to, 1 or 2
    :param gic: version of the interrupt controller, 2 or 3
    """
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryDirectory() as folder, ours, theirs:
        path = Path(folder) / "ram"
        with path.open("w+b") as file:
            file.truncate(ram_mib << 20)
            ram = mmap.mmap(file.fileno(), 0)
        command = [PROGRAM, "-nodefaults", "-no-user-config", "-nic", "none", "-display", "none"]
        command += ["-accel", "tcg,thread=single", "-S", "-cpu", cpu, "-m", f"{ram_mib}M"]
        virtualization = "on" if el == 2 else "off"
        command += ["-machine", f"virt,virtualization={virtualization},gic-version={gic},memory-backend=ram"]
        command += ["-object", f"memory-backend-file,id=ram,size={ram_mib}M,mem-path={path},share=on"]
        command += ["-chardev", f"socket,id=gdb,fd={theirs.fileno()}", "-gdb", "chardev:gdb"]
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        try:
            yield Qemu(Stub(ours), ram)
        except (ReferenceError, OSError) as error:
            child.kill()
            said = child.stderr.read().decode() if child.stderr is not None else ""
            raise ReferenceError(f"{error}; QEMU says: {said}") from error
        finally:
            child.kill()
            child.wait()
            if child.stderr is not None:
                child.stderr.close()
            ram.close()

"""One gdb script on the stub of QEMU and on ours, over one fragment: registers, memory, stops are equal."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from emu.arch.boot import IMAGE_PA
from emu.case import Case
from emu.debug.session import Session
from emu.host.build import build

_GDB, _QEMU = "gdb-multiarch", "qemu-system-aarch64"
_SECONDS = 60
_GENERAL = " ".join(f"$x{number}" for number in range(31)) + " $sp $pc"
_SHOW = "show the general registers"
# From the first instruction to where MPIDR_EL1 is read, which QEMU's CPU has otherwise.
_SCRIPT = [
    _SHOW,
    "stepi 5",
    _SHOW,
    "x/8i $pc",
    "break *{init:#x}",
    "break *{find:#x}",
    "continue",
    _SHOW,
    "delete",
    "stepi",
    "stepi",
    "x/4xg {table:#x}",
    "x/2xw {mode:#x}",
    "info symbol $pc",
]


@pytest.fixture
def emu_and_qemu(tmp_path: Path) -> tuple[Session, Path]:
    """A session in which CPU1 is about to run its first instruction, and its memory in a file."""
    for program, package in ((_GDB, "gdb-multiarch"), (_QEMU, "qemu-system-arm")):
        if not shutil.which(program):
            pytest.skip(f"{program}: not found (Debian: {package})")
    session = Session(build(Case.parse("v3 topology=flat:2")))
    session.add_breakpoint("secondary_entry", cpu=1)
    assert session.go_on().reason == "breakpoint"
    memory = session.machine.memory
    image = tmp_path / "memory"
    image.write_bytes(memory.read_bytes(IMAGE_PA, memory.base + memory.size - IMAGE_PA))
    return session, image


def _commands(session: Session) -> list[str]:
    subject = session.boot.guest.subject
    places = {"find": subject.pa("find"), "init": subject.pa("init_kernel_el")}
    places |= {"table": subject.pa("__cpu_logical_map"), "mode": subject.pa("__boot_cpu_mode")}
    show = f'printf "{"%lx " * 33}\\n", {", ".join(_GENERAL.split())}'
    commands = [show if command == _SHOW else command.format(**places) for command in _SCRIPT]
    return [word for command in commands for word in ("-ex", command)]


def _gdb(folder: Path, *words: str) -> list[str]:
    # What gdb prints, without the threads and numbers that name CPUs.
    environment = os.environ | {"HOME": str(folder), "LC_ALL": "C.UTF-8", "DEBUGINFOD_URLS": ""}
    command = [_GDB, "-nx", "-q", "-batch", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_SECONDS, check=False, env=environment
    )
    shown = done.stdout.partition("BEGIN\n")[2]
    assert shown, done.stdout + done.stderr
    return [line for line in shown.splitlines() if line and not line.startswith("[Switching")]


def _plain(lines: list[str]) -> list[str]:
    # Without the numbers of breakpoints, of which ours has had one before, and of threads.
    lines = [re.sub(r"^(Thread \d+ hit )?(Temporary b|B)reakpoint \d+", "Breakpoint", line) for line in lines]
    lines = [re.sub(r"watchpoint \d+:", "watchpoint:", line) for line in lines]
    return [line for line in lines if not line.startswith("[Inferior 1")]


def _ours(folder: Path, session: Session) -> list[str]:
    script = folder / "emu.gdb"
    command = [sys.executable, "-m", "emu", "gdb", "v3", "--cpus", "2", "--port", "0"]
    command += ["--symbols", str(folder / "symbols.elf"), "--script", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        server.stdout.readline()
        begin = ["-ex", "set pagination off", "-ex", "tbreak *&secondary_entry", "-ex", "continue"]
        begin += ["-ex", "delete", "-ex", "set scheduler-locking on", "-ex", "echo BEGIN\\n"]
        try:
            return _gdb(folder, "-x", str(script), *begin, *_commands(session))
        finally:
            server.terminate()
            server.wait(60)


def _theirs(folder: Path, session: Session, image: Path) -> list[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pe = session.pe(1)
    size = f"{session.machine.memory.size >> 20}M"
    command = [
        _QEMU,
        "-M",
        "virt",
        "-cpu",
        "cortex-a72",
        "-m",
        size,
        "-display",
        "none",
        "-nic",
        "none",
        "-S",
    ]
    command += ["-device", f"loader,file={image},addr={IMAGE_PA:#x},force-raw=on"]
    command += ["-gdb", f"tcp:127.0.0.1:{port}"]
    values = [(f"x{number}", pe.x[number]) for number in range(31)]
    values += [("sp", pe.sp), ("pc", pe.pc), ("cpsr", pe.pstate)]
    begin = ["-ex", "set pagination off", "-ex", f"target remote 127.0.0.1:{port}"]
    for name, value in values:
        begin += ["-ex", f"set var ${name} = {value:#x}"]
    script = (folder / "emu.gdb").read_text().rpartition("target remote")[0]
    (folder / "symbols.gdb").write_text(script)
    with subprocess.Popen(command) as server:  # gdb tries until it listens; a probe would let the CPU run
        try:
            return _gdb(
                folder, "-x", str(folder / "symbols.gdb"), *begin, "-ex", "echo BEGIN\\n", *_commands(session)
            )
        finally:
            server.kill()
            server.wait(60)


def test_a_script_shows_the_same_on_both(emu_and_qemu: tuple[Session, Path], tmp_path: Path) -> None:
    session, image = emu_and_qemu
    ours = _plain(_ours(tmp_path, session))
    theirs = _plain(_theirs(tmp_path, session, image))
    assert sum("find" in line for line in ours) > 1
    assert ours == theirs

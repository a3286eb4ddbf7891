"""gdb scripts on the stub of QEMU and on ours, over one fragment: registers, memory, stops are equal.

QEMU's machine is given the memory and the registers with which CPU1 of ours begins. That CPU's hwid is 0, as
QEMU's CPU has it. QEMU's Cortex-A72 has no 52-bit VAs, so the kernel is told that it uses 48: a CPU that
lacks what the kernel needs goes to sleep for ever, and on QEMU no `stepi` of a CPU that is asleep ends.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from emu.arch.boot import IMAGE_PA
from emu.case import Case
from emu.debug.session import Session
from emu.host.build import build

_GDB, _QEMU = "gdb-multiarch", "qemu-system-aarch64"
_SECONDS = 60
_GENERAL = [f"x{number}" for number in range(31)] + ["sp", "pc"]
# System registers that both have, by the name in QEMU's description: ours end in _EL1.
_SYSTEM = ("CPACR", "VBAR", "FAR_EL1", "ESR_EL1", "PAR_EL1", "MDSCR_EL1", "CONTEXTIDR_EL1")
_SYSTEM += ("TTBR0_EL1", "TTBR1_EL1", "TCR_EL1", "MAIR_EL1", "TPIDR_EL1", "ID_AA64MMFR0_EL1", "CTR_EL0")
_ITFSB = 37
_SHOW, _SHOW_SYSTEM = "show the general registers", "show the system registers"
_STEP = ("stepi", _SHOW)
_TO_VIRTUAL = ("tbreak *&__secondary_switched", "continue")

_SCRIPTS = {
    "breakpoints": [
        _SHOW,
        "stepi 5",
        _SHOW,
        "x/8i $pc",
        "break *{init_kernel_el:#x}",
        "break *{find:#x}",
        "continue",
        _SHOW,
        "delete",
        "stepi",
        "stepi",
        "x/4xg {__cpu_logical_map:#x}",
        "x/2xw {__boot_cpu_mode:#x}",
        "info symbol $pc",
    ],
    "the MMU is switched on, and a branch goes to virtual addresses": [
        "tbreak mmu_on",
        "continue",
        _SHOW,
        "x/2i $pc",
        *(_STEP * 8),  # MSR SCTLR_EL1, barriers, RET; LDR and BR to __secondary_switched
        _SHOW_SYSTEM,
        "info symbol $pc",
        "x/4xg &__cpu_logical_map",
        "x/4xg {__cpu_logical_map:#x}",
        "x/2xw &__boot_cpu_mode",
        "x/4i $pc",
        *(_STEP * 6),
        "stepi 9",
        _SHOW,
        _SHOW_SYSTEM,
    ],
    "watchpoints of a store": [
        "x/2xw {__boot_cpu_mode:#x}",
        *_TO_VIRTUAL,
        "set {{int}}&__boot_cpu_mode = 0",
        "watch *(int *)&__boot_cpu_mode",
        "rwatch *(int *)&__boot_cpu_mode",  # no load: it does not stop
        "continue",
        _SHOW,
        "info symbol $pc",
        "delete",
        "x/2xw &__boot_cpu_mode",
        "x/2xw {__boot_cpu_mode:#x}",
        "tbreak *&init_cpu_task",
        "continue",
        "stepi 4",
        _SHOW,
        "x/i $pc",
        "set {{long}}($sp + 0x130) = 0x1234",
        "awatch -location *(long *)($sp + 0x130)",
        "continue",
        _SHOW,
        "x/2xg $sp + 0x130",
    ],
    "watchpoints of loads": [
        "rwatch *(long *){vabits_actual:#x}",
        "awatch *(long *){__cpu_logical_map:#x}",
        "continue",
        _SHOW,
        "continue",
        _SHOW,
        "info symbol $pc",
        "stepi 2",
        _SHOW,
        "delete",
        *_TO_VIRTUAL,
        "rwatch *(long *)((char *)&cpu_boot_data + 16)",
        "continue",
        _SHOW,
    ],
    "functions are finished and callers shown": [
        "tbreak __cpu_setup",
        "continue",
        "backtrace",
        "finish",
        _SHOW,
        "tbreak set_cpu_boot_mode_flag",
        "continue",
        "up",
        "info registers pc",
        "down",
        "stepi",
        "backtrace",
        "finish",
        _SHOW,
        "nexti 2",
        "until *(&finalise_el2 + 0)",
        _SHOW,
    ],
    "values are set and searched": [
        "find {__cpu_logical_map:#x}, +64, (long)1",
        "set $x3 = 0x1234567890abcdef",
        "stepi",
        "p/x $x3",
        "set {{int}}{__boot_cpu_mode:#x} = 0x55",
        "x/2xw {__boot_cpu_mode:#x}",
        "tbreak scan",
        "continue",
        "set $x19 = 1",
        "stepi 5",
        _SHOW,
        "set $pc = {scan:#x}",
        "set $x19 = 0",
        "stepi 4",
        _SHOW,
        *_TO_VIRTUAL,
        "set {{long}}&__boot_cpu_mode = 0",
        "x/2xw {__boot_cpu_mode:#x}",
        "find &secondary_holding_pen, +0x400, (int)0xd65f03c0",
        "stepi 4",
        _SHOW,
        "set $cpsr = $cpsr & ~0xf0000000",
        "stepi",
        _SHOW,
        "set $sp = 0x1000",
        "stepi",
        _SHOW,
    ],
}


class Sides(NamedTuple):
    """A session in which CPU1 is about to run its first instruction, and its memory and topology in files."""

    session: Session
    image: Path
    topology: Path


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    """What both sides begin with."""
    for program, package in ((_GDB, "gdb-multiarch"), (_QEMU, "qemu-system-arm")):
        if not shutil.which(program):
            pytest.skip(f"{program}: not found (Debian: {package})")
    topology = tmp_path / "topology.json"
    topology.write_text(json.dumps({"boot_cpu": 1, "cpus": [{"hwid": 0}, {"hwid": 1}]}))
    session = Session(build(Case.parse(f"v3 topology={topology}")))
    session.add_breakpoint("secondary_entry", cpu=1)
    assert session.go_on().reason == "breakpoint"
    memory = session.machine.memory
    image = tmp_path / "memory"
    image.write_bytes(memory.read_bytes(IMAGE_PA, memory.base + memory.size - IMAGE_PA))
    return Sides(session, image, topology)


def _commands(session: Session, script: list[str], prefix: str) -> list[str]:
    subject = session.boot.guest.subject
    names = [line.split()[2] for line in subject.symbols.text.decode().splitlines()]
    places = {name: subject.pa(name) for name in names}
    shown = {
        _SHOW: f'printf "{"%lx " * len(_GENERAL)}\\n", {", ".join(f"${name}" for name in _GENERAL)}',
        _SHOW_SYSTEM: f'printf "{"%lx " * len(_SYSTEM)}\\n", {", ".join(_system(prefix))}',
    }
    commands = ["set {{long}}{vabits_actual:#x} = 48", *script]
    commands = [shown.get(command) or command.format(**places) for command in commands]
    return [word for command in commands for word in ("-ex", f"echo > {_echoed(command)}\\n", "-ex", command)]


def _echoed(command: str) -> str:
    # The command as it is printed before its answer, which so has no other's place.
    return command.replace("\\", "").replace('"', "") if not command.startswith("printf") else "registers"


def _system(ours: str) -> list[str]:
    # ITFSB is RES0 without FEAT_MTE: what was written there is kept by ours and dropped by QEMU.
    names = [f"${name if '_' in name or not ours else f'{name}_EL1'}" for name in ("SCTLR", *_SYSTEM)]
    return [f"{names[0]} & ~{1 << _ITFSB:#x}", *names[1:]]


def _gdb(folder: Path, *words: str) -> list[str]:
    # What gdb prints, without the threads and numbers that name CPUs.
    environment = os.environ | {"HOME": str(folder), "LC_ALL": "C.UTF-8", "DEBUGINFOD_URLS": ""}
    command = [_GDB, "-nx", "-q", "-batch", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_SECONDS, check=False, env=environment
    )
    shown = done.stdout.partition("BEGIN\n")[2]
    assert shown, done.stdout + done.stderr
    said = [line for line in shown.splitlines() if line and not line.startswith("[Switching")]
    errors = [line for line in done.stderr.splitlines() if line and not line.startswith("warning: ")]
    return said + errors


def _plain(lines: list[str]) -> list[str]:
    # Without the numbers of breakpoints, of which ours has had one before, and of threads.
    lines = [re.sub(r"^Thread \d+ hit ", "", line) for line in lines]
    lines = [re.sub(r"((?:B|b)reakpoint|watchpoint) \d+", r"\1", line) for line in lines]
    return [line for line in lines if not line.startswith("[Inferior 1")]


def _ours(folder: Path, sides: Sides, script: list[str]) -> list[str]:
    path = folder / "emu.gdb"
    command = [sys.executable, "-m", "emu", "gdb", "v3", "--topology", str(sides.topology), "--port", "0"]
    command += ["--symbols", str(folder / "symbols.elf"), "--script", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        server.stdout.readline()
        entry = f"tbreak *{sides.session.pe(1).pc:#x}"
        begin = ["-ex", "set pagination off", "-ex", entry, "-ex", "continue"]
        begin += ["-ex", "delete", "-ex", "set scheduler-locking on", "-ex", "echo BEGIN\\n"]
        try:
            return _gdb(folder, "-x", str(path), *begin, *_commands(sides.session, script, "ours"))
        finally:
            server.terminate()
            server.wait(60)


def _theirs(folder: Path, sides: Sides, script: list[str]) -> list[str]:
    session = sides.session
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pe = session.pe(1)
    size = f"{session.machine.memory.size >> 20}M"
    command = [
        _QEMU,
        *("-M", "virt", "-cpu", "cortex-a72", "-m", size, "-display", "none", "-nic", "none", "-S"),
    ]
    command += ["-device", f"loader,file={sides.image},addr={IMAGE_PA:#x},force-raw=on"]
    command += ["-gdb", f"tcp:127.0.0.1:{port}"]
    values = [(f"x{number}", pe.x[number]) for number in range(31)]
    values += [("sp", pe.sp), ("pc", pe.pc), ("cpsr", pe.pstate)]
    begin = ["-ex", "set pagination off", "-ex", f"target remote 127.0.0.1:{port}"]
    for name, value in values:
        begin += ["-ex", f"set var ${name} = {value:#x}"]
    text = (folder / "emu.gdb").read_text().rpartition("target remote")[0]
    (folder / "symbols.gdb").write_text(text)
    begin = ["-x", str(folder / "symbols.gdb"), *begin, "-ex", "echo BEGIN\\n"]
    with subprocess.Popen(command) as server:  # gdb tries until it listens; a probe would let the CPU run
        try:
            return _gdb(folder, *begin, *_commands(session, script, ""))
        finally:
            server.kill()
            server.wait(60)


@pytest.mark.parametrize("name", _SCRIPTS)
def test_a_script_shows_the_same_on_both(sides: Sides, tmp_path: Path, name: str) -> None:
    script = _SCRIPTS[name]
    ours = _plain(_ours(tmp_path, sides, script))
    theirs = _plain(_theirs(tmp_path, sides, script))
    assert sum(line.startswith("> ") for line in ours) == len(script) + 1
    assert ours == theirs

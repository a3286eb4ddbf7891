"""The engine's structs on hosts and builds other than this one: a message, never a signal."""

from __future__ import annotations

import platform
import sys
from ctypes import addressof, create_string_buffer
from pathlib import Path
from subprocess import run

import pytest

from emu.cpu.unicorn import layout
from emu.cpu.unicorn.process_memory import ProcessMemory

_ROOT = Path(__file__).parents[2]


def _child(script: str) -> tuple[int, str]:
    # In a process of its own, which a wild pointer would end with a signal (a negative status).
    done = run([sys.executable, "-c", script], cwd=_ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


_BOOT = """
import sys
from emu.cli import main
from emu.cpu.unicorn import layout
{change}
sys.argv = ["emu", "boot", "v3", "--cpus", "2"]
main()
"""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("layout.BUILDS = (layout.Build(('linux', 'x86_64'), 0x130),)", "the state of the CPU is not where"),
        ("layout.BUILDS = ()", "the state of the CPU is not where"),
        ("layout.CPUSTATE_IN_ENGINE = 0x1c0", "the state of the CPU is not where"),
        ("layout.COUNTER_IN_ENGINE = 0x550", "the instruction counter is not where"),
        ("layout.COUNTER_IN_ENGINE = 1 << 40", "the state of the CPU is not where"),
        ("layout.CONTEXT_BYTES += 8", "a context has 12640 bytes, expected 12648"),
        ("layout.IN_CONTEXT[(3, 0, 13, 0, 4)] += 8", "TPIDR_EL1 is not where"),
        ("layout.EXCLUSIVE_VALUE += 8", "the exclusive value is not where"),
    ],
)
def test_a_wrong_offset_ends_in_one_line(change: str, says: str) -> None:
    status, text = _child(_BOOT.format(change=change))
    assert (status, text.count("\n")) == (2, 1), text
    assert says in text
    assert text.rstrip().endswith("install the wheel of unicorn==2.1.4")


def test_no_offset_at_all_ends_in_a_signal() -> None:
    """Every place in which the pointers could be; the right one is the only one that is taken."""
    script = """
from emu.cpu.unicorn import layout, live
from emu.cpu.unicorn.binding import Handle, X_REGISTERS
from emu.memory import Memory
handle = Handle(Memory(1 << 30, 1 << 20))
for number, register in enumerate(X_REGISTERS):
    handle.write(register, live._PROBE + number)
right, (wanted,) = layout.CPUSTATE_IN_ENGINE, {live._find_env(handle)}
assert wanted
builds = layout.BUILDS
for at in range(0, 0x800, 8):
    layout.CPUSTATE_IN_ENGINE = at
    assert live._find_env(handle) in (None, wanted), hex(at)
layout.CPUSTATE_IN_ENGINE, found = right, []
for at in range(0, 0x800, 4):
    layout.BUILDS = (layout.Build(("any", "host"), at),)
    if live._find_env(handle) is not None:
        found.append(at)
assert len(found) >= 1 and set(found) & {build.env for build in builds}, found
"""
    assert _child(script) == (0, "")


def test_a_look_for_offsets_leaves_system_registers_alone() -> None:
    """Or what was written to find them is what a PE starts with."""
    script = """
from emu.arch import sysreg
from emu.cpu.unicorn import layout, live
from emu.cpu.unicorn.binding import Handle
from emu.memory import Memory
memory = Memory(1 << 30, 1 << 20)
handle = Handle(memory)
known = set(layout.IN_CONTEXT) - {sysreg.TTBR1_EL2}  # which an Armv8.0 CPU lacks
before = {encoding: handle.read_system(encoding) for encoding in known}
live.find_live(handle, memory)
assert {encoding: handle.read_system(encoding) for encoding in known} == before
"""
    assert _child(script) == (0, "")


def test_the_build_of_this_host_is_in_the_table_once() -> None:
    """A second build of another host is tried too, so a container of musl needs no row of its own."""
    hosts = [build.host for build in layout.BUILDS]
    assert len(hosts) == len(set(hosts))
    assert (sys.platform, platform.machine()) in hosts


@pytest.mark.parametrize("address", [0, 1, 8, 1 << 47, (1 << 64) - 8, 1 << 64, -8])
def test_reading_what_is_not_mapped_is_an_answer(address: int) -> None:
    memory = ProcessMemory()
    assert memory.read(address, 8) is None
    assert memory.pointer(address) == 0
    memory.close()


def test_reading_what_is_mapped_gives_its_bytes_however_many() -> None:
    data = bytes(range(256)) * 80
    buffer, memory = create_string_buffer(data, len(data)), ProcessMemory()
    assert memory.read(addressof(buffer), len(data)) == data
    assert memory.pointer(addressof(buffer) + 8) == int.from_bytes(data[8:16], "little")
    memory.close()

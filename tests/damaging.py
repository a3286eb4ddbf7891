"""Damaged inputs: a good file for each loader of emu, the command that reads it, and mutations."""

from __future__ import annotations

import gzip
import importlib
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from given_boards import board, tree
from programs import run_emu

from emu.explore.explorer import ExplorationResult, Explorer
from emu.explore.search import Bounds
from emu.subject.fragment import asm_dir

STATUSES = {0, 1, 2, 125}
_ROOT = Path(__file__).resolve().parents[1]
_EXAMPLE = asm_dir().parent / "examples" / "my_boot.S"
_LITMUS = Path(__file__).parent / "litmus" / "pointers.litmus"
_PROPERTIES = b"""finally = "[vabits_actual] != 0"
never = ["cpu1@secondary_start_kernel && 2 < 1", "hwid(0x1):x0 == 0x12345678"]
"""
_LATENCY = b"""summary = "s"
seed = 3
[ns]
instruction = 1
call = "2us"
alive = "350us..3.5ms"
[cpus.primary]
before_alive = "6.7ms"
[cpus."1-3,5"]
online = 7
[source]
alive = "assumed"
"""
_PROGRAM = b"""/* p
 * start: boot main
 * start: secondary other
 * mmu: on
 * firmware: none
 * assert: finally [word] == 1
 */
main:   adr     x1, word
        mov     x2, #1
        str     x2, [x1]
        b       .
other:  b       other
word:   .quad   0
"""
_SCRIPT = b"""# as a user has them
until secondary_startup cpu 1
break secondary_start_kernel if cpu == 1 and [__boot_cpu_mode] != 0
watch __early_cpu_boot_status change size 4
x u32 __boot_cpu_mode 2 --all
print u8[cpu_boot_data + 16]
set x5 = 7
continue
back 2
goto 7
"""
_NOP = bytes.fromhex("1f2003d5")
_NUMBERS = (
    "-1",
    "0",
    "1e309",
    "18446744073709551616",
    "99999999999999999999999999",
    "null",
    "[]",
    '"x"',
    "true",
)
_BYTES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)


@dataclass(frozen=True, slots=True)
class Loader:
    """A kind of file.

    :ivar name: of the file in its folder
    :ivar make: writes a good one into a folder
    :ivar command: what reads it, run in that folder
    :ivar slow: it starts other processes
    :ivar text: mutations are of words and lines, besides those of bytes
    :ivar alone: it is run in a process of its own, from which it makes others
    """

    name: str
    make: Callable[[Path], bytes]
    command: tuple[str, ...]
    text: bool = True
    slow: bool = False
    alone: bool = False


def _written(folder: Path, name: str, *words: str) -> bytes:
    done = run_emu(*words, cwd=folder)
    path = folder / name
    assert path.exists(), done.stderr
    return path.read_bytes()


def _unit(name: str) -> Any:
    # A helper of the unit tests, which are no package.
    sys.path.insert(0, str(Path(__file__).parent / "unit"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def _object(_folder: Path) -> bytes:
    maker = _unit("make_object")
    data: bytes = maker.make_object([maker.Part(".text", _NOP * 8)])
    return data


def _kernel(folder: Path) -> bytes:
    # An Image without BTF, and the symbols and layouts beside it.
    maker = _unit("make_kernel")
    btf = maker.kernel_btf().blob()
    symbols = maker.SYMBOLS | {"__stop_BTF": maker.SYMBOLS["__start_BTF"] + len(btf)}
    (folder / "System.map-1").write_bytes(maker.system_map(symbols))
    data: bytes = maker.image(btf)
    return data


def _packed(folder: Path) -> bytes:
    return gzip.compress(_kernel(folder), mtime=0)


def _packed_by(kind: str) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        packed: bytes = _unit("make_kernel").COMPRESSORS[kind](_kernel(folder))
        return packed

    return make


def _uimage(folder: Path) -> bytes:
    data: bytes = _unit("make_kernel").uimage(_packed(folder))
    return data


def _zboot(folder: Path) -> bytes:
    data: bytes = _unit("make_kernel").zboot(_packed(folder), b"gzip")
    return data


def _sourced(folder: Path) -> bytes:
    (folder / "s").write_text("source f\n")
    return _SCRIPT


def _imported(folder: Path) -> bytes:
    (folder / "c.toml").write_bytes(_contract(folder))
    (folder / "i").mkdir(exist_ok=True)
    return b"# cases\nv3 nr-cpus=2 map=0x0,0x1 mpidr=0x80000001\nv3 nr-cpus=1 map=- mpidr=0x0 with=x5:0x7\n"


def _board(folder: Path) -> bytes:
    _symbols(folder)
    return Path(tree(folder / "b.dtb", *board(), cpus=1)).read_bytes()


def _fit(folder: Path) -> bytes:
    data: bytes = _unit("make_kernel").fit(_packed(folder))
    return data


def _symbols(folder: Path) -> bytes:
    (folder / "vmlinuz-1").write_bytes(_kernel(folder))
    return (folder / "System.map-1").read_bytes()


def _vmlinux(folder: Path) -> bytes:
    maker = _unit("make_kernel")
    data: bytes = maker.elf(_kernel(folder), sections={".BTF": maker.kernel_btf().blob()})
    return data


def _resume(folder: Path) -> bytes:
    # What Ctrl-C leaves of a search with findings.
    search = Explorer.search

    def interrupted(explorer: Explorer, bounds: Bounds, **options: Any) -> ExplorationResult:
        return search(explorer, bounds, **{**options, "tell": lambda count, _depth: count.schedules >= 5})

    words = ("explore", "mainline", "--cpus", "4", "--bringup", "parallel", "--force", "--all", "-j", "1")
    with mock.patch.object(Explorer, "search", interrupted):
        return _written(folder, "emu-explore.json", *words)


def _campaign(folder: Path) -> bytes:
    (folder / "c.toml").write_bytes(_contract(folder))  # two small sizes: it is soon made
    words = (
        "fuzz",
        "v3",
        "--contract",
        "c.toml",
        "--dir",
        "c",
        "--cases",
        "1",
        "--unit-cases",
        "16",
        "-j",
        "1",
    )
    _written(folder, "c/campaign.sqlite", *words)
    with closing(sqlite3.connect(folder / "c" / "campaign.sqlite")) as database:
        database.execute("pragma wal_checkpoint(truncate)")
    return (folder / "c" / "campaign.sqlite").read_bytes()


def _contract(_folder: Path) -> bytes:
    return b"""[lookup]
entry = "find"
found = "found"
missing = "missing"
index = "x19"
mpidr = "mpidr_el1"
may_change = ["x0", "x1", "x2", "x3", "x4"]
instructions_max = "6 * NR_CPUS + 20"

[[table]]
symbol = "__cpu_logical_map"
element = "u64"
count = "NR_CPUS"

[defines]
NR_CPUS = { default = 2, sweep = [1, 2] }
"""


_FUZZ = ("fuzz", "v3", "--contract", "c.toml", "--unit-cases", "16", "-j", "1")
_REPLAY = (
    "rfc topology=flat:4 bringup=parallel scheduler=replay:0x33,1x25,0x2,1x7,0x4,1x3,0x3,2x9,3x27,t0,0x4,"
    "3x7,0x4,3x3,0x11 grain=operation base=6.12 fault=2:no-granule"
)
_TOPOLOGY = b"""{"firmware": "acpi", "cpus": [
    {"hwid": "0x0", "midr": "0x410fd083"}, {"hwid": 1, "online_capable": true}
]}"""
LOADERS: Mapping[str, Loader] = {
    "text": Loader("a.S", lambda _: _EXAMPLE.read_bytes(), ("boot", "a.S", "--cpus", "2"), slow=True),
    "object": Loader("a.o", _object, ("info", "a.o"), text=False),
    "kernel": Loader("vmlinuz-1", _kernel, ("info", "vmlinuz-1"), text=False),
    "packed": Loader("vmlinuz-1", _packed, ("info", "vmlinuz-1"), text=False),
    "lz4": Loader("vmlinuz-1", _packed_by("lz4"), ("info", "vmlinuz-1"), text=False),
    "lz4-legacy": Loader("vmlinuz-1", _packed_by("lz4 legacy"), ("info", "vmlinuz-1"), text=False),
    "xz": Loader("vmlinuz-1", _packed_by("xz"), ("info", "vmlinuz-1"), text=False),
    "zstd": Loader("vmlinuz-1", _packed_by("zstd"), ("info", "vmlinuz-1"), text=False),
    "uimage": Loader("vmlinuz-1", _uimage, ("info", "vmlinuz-1"), text=False),
    "zboot": Loader("vmlinuz-1", _zboot, ("info", "vmlinuz-1"), text=False),
    "fit": Loader("vmlinuz-1", _fit, ("info", "vmlinuz-1"), text=False),
    "vmlinux": Loader("vmlinux", _vmlinux, ("info", "vmlinux"), text=False),
    "symbols": Loader("System.map-1", _symbols, ("info", "vmlinuz-1")),
    "topology": Loader("t.json", lambda _: _TOPOLOGY, ("boot", "--topology", "t.json")),
    "devicetree": Loader(
        "m/machine.dtb",
        lambda at: _written(at, "m/machine.dtb", "info", "smt:4", "--tables", "m"),
        ("info", "m/machine.dtb"),
        text=False,
    ),
    "acpi": Loader(
        "m/apic.aml",
        lambda at: _written(at, "m/apic.aml", "info", "vcpus:4", "--tables", "m"),
        ("info", "m/apic.aml"),
        text=False,
    ),
    "contract": Loader(
        "c.toml", _contract, ("lookup", "v3", "--contract", "c.toml", "--cases", "0", "--nr-cpus", "2")
    ),
    "trace": Loader(
        "t",
        lambda at: _written(at, "t", "trace", "v3", "--cpus", "2", "-o", "t"),
        ("diff", "t", "t"),
        text=False,
    ),
    "litmus": Loader(
        "t.litmus", lambda _: _LITMUS.read_bytes(), ("litmus", "t.litmus", "-j", "1"), slow=True
    ),
    "properties": Loader(
        "p.toml", lambda _: _PROPERTIES, ("boot", "v3", "--cpus", "2", "--assert", "p.toml")
    ),
    "latency": Loader("l.toml", lambda _: _LATENCY, ("boot", "v3", "--cpus", "2", "--latency", "l.toml")),
    "program": Loader("p.S", lambda _: _PROGRAM, ("boot", "p.S", "--cpus", "2"), slow=True),
    "resume": Loader(
        "s", _resume, ("explore", "--resume", "s", "--max-schedules", "25", "-j", "1"), slow=True
    ),
    "campaign": Loader(
        "c/campaign.sqlite", _campaign, ("fuzz", "--dir", "c", "--for", "0", "-j", "1"), text=False, slow=True
    ),
    "import": Loader(
        "i/c.txt",
        _imported,
        (*_FUZZ, "--dir", "c", "--restart", "--import", "i", "--cases", "0"),
        slow=True,
    ),
    "board": Loader(
        "b.dtb",
        _board,
        ("boot", "vmlinuz-1", "--depth", "whole", "--dtb", "b.dtb", "--instructions-max", "1000"),
        text=False,
    ),
    "script": Loader(
        "s", lambda _: _SCRIPT, ("step", "v3", "--cpus", "2", "--script", "s"), slow=True, alone=True
    ),
    "sourced": Loader("f", _sourced, ("step", "v3", "--cpus", "2", "--script", "s"), slow=True, alone=True),
    "replay": Loader(
        "r",
        lambda _: f"case: {_REPLAY}\n".encode(),
        ("replay", "r"),
    ),
}


def mutated(rng: random.Random, data: bytes, *, text: bool) -> bytes:
    """Return other bytes: bits, edges, pieces cut out, doubled or moved; of text words and numbers too."""
    if text and rng.random() < 0.6:
        return _mutated_text(rng, data)
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(changed)) if changed else 0
        match rng.randrange(5):
            case 0 if changed:
                changed[at] ^= 1 << rng.randrange(8)
            case 1 if changed:
                changed[at] = rng.choice(_BYTES)
            case 2:
                del changed[at : at + rng.choice((1, 4, 16, len(changed)))]
            case 3:
                changed[at:at] = changed[at : at + rng.choice((1, 8, 64))]
            case _:
                size = rng.choice((2, 4, 8))
                changed[at : at + size] = rng.choice((0, 1, (1 << 8 * size) - 1)).to_bytes(
                    size, rng.choice(("little", "big"))
                )
    return bytes(changed)


def _mutated_text(rng: random.Random, data: bytes) -> bytes:
    words = data.decode(errors="replace").replace(",", " , ").split(" ")
    at = rng.randrange(len(words))
    match rng.randrange(4):
        case 0:
            words[at] = rng.choice(_NUMBERS)
        case 1:
            del words[at]
        case 2:
            words[at:at] = [rng.choice(words)] * rng.choice((1, 2, 1000))
        case _:
            words[at] = words[at] + rng.choice(("\0", "\udc80", "é", "\n", "'", '"', "9" * 5000, "{" * 3000))
    return " ".join(words).encode(errors="surrogateescape")


def _alone(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-m", "emu", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def ended(loader: Loader, folder: Path, data: bytes) -> subprocess.CompletedProcess[str]:
    """Run the loader's command on ``data``."""
    (folder / loader.name).write_bytes(data)
    return _alone(loader.command, folder) if loader.alone else run_emu(*loader.command, cwd=folder)


def complaint(loader: Loader, folder: Path, data: bytes) -> str:
    """Return what is wrong with how the loader's command ends on ``data``; "": nothing."""
    done = ended(loader, folder, data)
    if done.returncode not in STATUSES or "Traceback" in done.stderr:
        return f"status {done.returncode}\n{done.stderr[-1500:]}"
    if done.returncode == 2 and len(done.stderr.splitlines()) != 1:
        return f"status 2 and not one line\n{done.stderr[-1500:]}"
    return ""

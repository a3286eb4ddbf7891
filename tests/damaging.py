"""Damaged inputs: a good file for each loader of emu, the command that reads it, and mutations."""

from __future__ import annotations

import gzip
import importlib
import json
import random
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from programs import run_emu

from emu.explore.search import Bounds, Count
from emu.subject.fragment import asm_dir

STATUSES = {0, 1, 2, 125}
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
    """

    name: str
    make: Callable[[Path], bytes]
    command: tuple[str, ...]
    text: bool = True
    slow: bool = False


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


def _resume(_folder: Path) -> bytes:
    frames = [
        {"picks": picks, "todo": [1], "sleep": 0, "done": 1, "preemptions": 0}
        for picks in ("", "0x2,1", "1x3")
    ]
    whole = {"version": 2, "case": "v3 topology=flat:2 memory=caches", "learned": False, "frames": frames}
    whole |= {"units": [0x4050_0000], "everything": True, "found": ["0x9,1x3"]}
    return json.dumps(whole | {"bounds": asdict(Bounds(depth=300)), "count": asdict(Count())}).encode()


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
    "resume": Loader("s", _resume, ("explore", "--resume", "s", "--max-schedules", "2")),
    "campaign": Loader(
        "c/campaign.sqlite", _campaign, ("fuzz", "--dir", "c", "--for", "0", "-j", "1"), text=False, slow=True
    ),
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


def complaint(loader: Loader, folder: Path, data: bytes) -> str:
    """Run the loader's command on ``data``; return what is wrong with how it ends; "": nothing."""
    path = folder / loader.name
    path.write_bytes(data)
    done = run_emu(*loader.command, cwd=folder)
    if done.returncode not in STATUSES or "Traceback" in done.stderr:
        return f"status {done.returncode}\n{done.stderr[-1500:]}"
    if done.returncode == 2 and len(done.stderr.splitlines()) != 1:
        return f"status 2 and not one line\n{done.stderr[-1500:]}"
    return ""

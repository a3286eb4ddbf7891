"""Whatever the bytes of ACPI tables are, reading them gives a topology or one line that names the file."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.errors import InvalidCase
from emu.topology import Cpu, Topology
from emu.topology.acpi import madt, pptt
from emu.topology.acpi.read import read_tables
from emu.topology.acpi.table import AcpiTable, structures, with_checksum
from emu.topology.acpi.write import write_acpi

_MUTATIONS = 20_000
_EDGES = (0, 1, 2, 3, 0x7F, 0x80, 0xFE, 0xFF)
_EDGES_32 = (0, 1, 36, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
_CPUS = tuple(
    Cpu(
        0x100 * index,
        enabled=index % 5 != 3,
        online_capable=index % 5 == 3,
        enable_method="psci",
        socket=index // 8,
        cluster=index // 4 % 2,
        core=index // 2 % 2,
        thread=index % 2,
    )
    for index in range(16)
)


def _tables(gicc_size: int) -> dict[str, bytes]:
    found = write_acpi(Topology("t", _CPUS, conduit="hvc"), 0x4800_0000, gicc_size=gicc_size).tables
    return {signature: found[signature] for signature in ("APIC", "FACP", "PPTT")}


def _mutated(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    match rng.randrange(6):
        case 0:  # bits
            for _ in range(rng.randrange(1, 9)):
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        case 1:  # end early, with the length put right or not
            del changed[rng.randrange(len(changed)) :]
            if len(changed) >= 8 and rng.random() < 0.7:
                changed[4:8] = len(changed).to_bytes(4, "little")
        case 2:  # a piece of it somewhere else
            start, at = rng.randrange(len(changed)), rng.randrange(len(changed))
            piece = changed[start : start + rng.randrange(1, 100)]
            changed[at : at + rng.choice((0, len(piece)))] = piece
            changed[4:8] = len(changed).to_bytes(4, "little")
        case 3:  # a byte that is an edge
            changed[rng.randrange(len(changed))] = rng.choice(_EDGES)
        case 4:  # a word that is an edge
            at = rng.randrange(len(changed) - 3)
            changed[at : at + 4] = rng.choice(_EDGES_32).to_bytes(4, "little")
        case 5:  # a reference to somewhere in the table
            at = rng.randrange(36, len(changed) - 3) & ~3
            changed[at : at + 4] = rng.randrange(len(changed)).to_bytes(4, "little")
    return bytes(changed)


def test_mutated_tables_give_a_topology_or_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0

    def counted(table: AcpiTable, first: int, what: str) -> Iterator[tuple[int, int, int]]:
        nonlocal steps
        for each in structures(table, first, what):
            steps += 1
            yield each

    monkeypatch.setattr(madt, "structures", counted)
    monkeypatch.setattr(pptt, "structures", counted)
    rng = random.Random(6_05)
    originals = [_tables(76), _tables(80)]
    read = refused = inside = 0
    for number in range(_MUTATIONS):
        tables = dict(rng.choice(originals))
        signature = rng.choice(sorted(tables))
        data = tables[signature]
        for _ in range(rng.randrange(1, 4)):
            data = _mutated(rng, data) if len(data) > 40 else data
        if rng.random() < 0.8 and len(data) > 9:
            data = with_checksum(data)
        tables[signature] = data
        steps = 0
        try:
            found = read_tables("fuzz", {key: (f"{key}.dat", table) for key, table in tables.items()})
        except InvalidCase as error:
            refused += 1
            message = str(error)
            inside += not any(what in message for what in ("checksum=", "length=", "signature=", "size="))
            assert message.startswith((f"{signature}.dat: ", "topology fuzz: ")), (number, message)
            assert message.isprintable(), (number, message)
        else:
            read += 1
            assert found.firmware == "acpi"
            assert len(found.cpus) <= 4096
            write_acpi(found, 0x4800_0000)
        assert steps <= sum(map(len, tables.values())) // 2, number
    # The mutations reach both ends, and not only the outer checks.
    assert (read > 2000, refused > 2000, inside > 500) == (True, True, True), (read, refused, inside)


def _dense_places(draw: st.DrawFn, count: int) -> list[tuple[int, int, int, int]]:
    # Places as a table numbers them: without gaps.
    places, place = [], [0, 0, 0, 0]
    for number in range(count):
        if number:
            level = draw(st.integers(0, 3))
            place = [*place[:level], place[level] + 1, *[0] * (3 - level)]
        places.append((place[0], place[1], place[2], place[3]))
    return places


@st.composite
def _topologies(draw: st.DrawFn) -> Topology:
    count = draw(st.integers(1, 12))
    method, conduit = draw(
        st.sampled_from([("psci", "smc"), ("psci", "hvc"), ("psci", ""), ("parking-protocol", ""), ("", "")])
    )
    uids = draw(st.lists(st.integers(0, 2**32 - 1), min_size=count, max_size=count, unique=True))
    own_uids = draw(st.booleans())
    described = draw(st.integers(0, count))
    places = draw(st.permutations(_dense_places(draw, described) + [(0, 0, -1, 0)] * (count - described)))
    cpus = [
        Cpu(
            draw(st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1))),
            enabled=draw(st.booleans()),
            online_capable=draw(st.booleans()),
            enable_method=method,
            release_addr=draw(st.one_of(st.just(0), st.integers(0, 2**64 - 1))),
            parking_version=draw(st.sampled_from((0, 1, 2**32 - 1))),
            uid=uids[index] if own_uids else -1,
            interface=draw(st.one_of(st.just(-1), st.integers(0, 2**32 - 1))),
            socket=places[index][0],
            cluster=places[index][1],
            core=places[index][2],
            thread=places[index][3],
        )
        for index in range(count)
    ]
    return Topology("t", tuple(cpus), draw(st.integers(0, count - 1)), conduit=conduit, firmware="acpi")


def _as_tables_say(topology: Topology) -> Topology:
    # What no table can hold is gone: which CPU boots, methods but PSCI's, numbers left open.
    psci = topology.cpus[0].enable_method == "psci"

    def said(index: int, cpu: Cpu) -> Cpu:
        parking = "parking-protocol" if cpu.release_addr and cpu.parking_version else ""
        return replace(
            cpu,
            enable_method="psci" if psci else parking,
            uid=index if cpu.uid < 0 else cpu.uid,
            interface=index if cpu.interface < 0 else cpu.interface,
        )

    cpus = tuple(said(index, cpu) for index, cpu in enumerate(topology.cpus))
    boot_cpu = next((index for index, cpu in enumerate(cpus) if cpu.enabled), 0)
    conduit = (topology.conduit or "smc") if psci else ""
    return replace(topology, cpus=cpus, boot_cpu=boot_cpu, conduit=conduit)


@given(_topologies(), st.sampled_from([76, 80]))
def test_what_is_written_is_read(topology: Topology, gicc_size: int) -> None:
    written = write_acpi(topology, 0x4800_0000, gicc_size=gicc_size).tables
    tables = {key: (key, table) for key, table in written.items() if key in ("APIC", "FACP", "PPTT")}
    assert read_tables("t", tables) == _as_tables_say(topology)

"""What every preset keeps to: as many CPUs as asked for, and firmware's rules."""

from __future__ import annotations

import contextlib
import json
import sys

import pytest
from booting import run

from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.errors import InvalidCase
from emu.topology import FIRMWARES, Topology
from emu.topology.json_form import parse_json, to_json
from emu.topology.presets import PRESETS, get_preset, is_preset

every_preset = pytest.mark.parametrize("name", PRESETS)
SOUND = [name for name in PRESETS if not name.startswith("bad-")]
COUNTS = (1, 2, 3, 4, 16, 17, 64, 255, 256, 257, 512, 4096)


def made(name: str) -> list[Topology]:
    """Return the preset with each count that it can have, its own default among them."""
    topologies = []
    for count in sorted({*COUNTS, PRESETS[name].cpus}):
        with contextlib.suppress(InvalidCase):  # where its shape ends
            topologies.append(get_preset(f"{name}:{count}"))
    return topologies


@every_preset
def test_it_has_as_many_entries_as_asked_for_and_their_number_in_its_name(name: str) -> None:
    topologies = made(name)
    assert len(topologies) >= 3
    for topology in topologies:
        assert topology.name == f"{name}:{len(topology.cpus)}"
        assert topology.firmware in FIRMWARES


@every_preset
def test_its_default_is_one_of_them_and_the_same_every_time(name: str) -> None:
    assert is_preset(name)
    assert get_preset(name) == get_preset(f"{name}:{PRESETS[name].cpus}") == get_preset(name)


@every_preset
@pytest.mark.parametrize("count", [0, 4097])
def test_a_number_of_cpus_that_no_kernel_has_is_refused(name: str, count: int) -> None:
    with pytest.raises(InvalidCase, match=rf"topology {name}: cpus={count}: NR_CPUS is 1\.\.4096"):
        get_preset(f"{name}:{count}")


@every_preset
def test_it_states_its_shape_in_a_line_and_its_source(name: str) -> None:
    docstring = sys.modules[PRESETS[name].make.__module__].__doc__ or ""
    assert docstring.startswith(PRESETS[name].summary + "\n\n")
    assert "Source: " in " ".join(docstring.split())


@pytest.mark.parametrize("name", SOUND)
def test_hwids_are_distinct_and_have_no_other_bits(name: str) -> None:
    """Arm DDI 0487, MPIDR_EL1: the affinity fields are unique in the system."""
    for topology in made(name):
        values = [cpu.hwid for cpu in topology.cpus]
        assert len(set(values)) == len(values)
        assert all(value & MPIDR_HWID_BITMASK == value for value in values)
        assert topology.boot.enabled


@every_preset
def test_its_json_is_read_as_the_same(name: str) -> None:
    topology = get_preset(f"{name}:4")
    assert parse_json(json.dumps(to_json(topology)).encode(), topology.name) == topology


@every_preset
def test_a_design_boots_on_it_whatever_firmware_says(name: str) -> None:
    """No finding: a CPU that firmware spoils does not come up, and the kernel says so."""
    done = run(f"v3 topology={name}:4")
    assert done.messages == []
    if name in SOUND:
        there = [cpu.enabled for cpu in get_preset(f"{name}:4").cpus]
        assert done.outcomes.count("online") == there.count(True)

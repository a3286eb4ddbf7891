"""Topologies: what is accepted, how logical CPUs are numbered, what each refusal says."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.errors import InvalidCase
from emu.topology import Cpu, Topology, flat, read_topology

hwids = st.lists(
    st.integers(0, 2**40 - 1).map(lambda n: n & MPIDR_HWID_BITMASK), min_size=1, max_size=40, unique=True
)


@given(hwids, st.data())
def test_boot_cpu_is_logical_0_and_the_others_keep_their_order(
    values: list[int], data: st.DataObject
) -> None:
    """smp_init_cpus() gives the boot CPU logical number 0 wherever firmware lists it."""
    boot = data.draw(st.integers(0, len(values) - 1))
    logical = Topology("t", tuple(map(Cpu, values)), boot).logical
    assert logical[0].hwid == values[boot]
    assert [cpu.hwid for cpu in logical[1:]] == values[:boot] + values[boot + 1 :]


@pytest.mark.parametrize("cpus", [1, 16, 17, 4096])
def test_flat_gives_distinct_hwids_sixteen_to_an_aff1(cpus: int) -> None:
    topology = flat(cpus)
    assert len({cpu.hwid for cpu in topology.cpus}) == cpus
    assert all(cpu.hwid & 0xFF < 16 for cpu in topology.cpus)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", 'a topology is {"cpus"'),
        ('{"cpus": 3}', 'a topology is {"cpus"'),
        ('{"cpus": []}', "cpus=0: NR_CPUS is 1..4096"),
        ('{"cpus": [{}]}', r"cpus\[0\]: a CPU is an object with a hwid"),
        ('{"cpus": [{"hwid": 1, "colour": 2}]}', r"cpus\[0\].colour"),
        ('{"cpus": [{"hwid": "zero"}]}', r"cpus\[0\].hwid='zero'"),
        ('{"cpus": [{"hwid": -1}]}', r"cpus\[0\].hwid=-1"),
        ('{"cpus": [{"hwid": true}]}', r"cpus\[0\].hwid=True"),
        ('{"cpus": [{"hwid": 0}, {"hwid": 0}]}', r"hwids\[1\]=0x0: duplicates hwids\[0\]"),
        ('{"cpus": [{"hwid": "0x1000000"}]}', r"hwids\[0\]=0x1000000: bit 24 is outside"),
        ('{"cpus": [{"hwid": 0}], "boot_cpu": 1}', "boot_cpu=1"),
        ('{"cpus": [{"hwid": 0, "id_registers": {"SCTLR_EL1": 1}}]}', "SCTLR_EL1: not an ID register"),
        ('{"cpus": [{"hwid": 0, "id_registers": 5}]}', "id_registers"),
        ("{", "not JSON"),
        ("\xff", "not JSON"),
    ],
)
def test_broken_topology_says_what_and_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidCase, match=says) as caught:
        read_topology(path)
    assert "\n" not in str(caught.value)
    assert "t.json" in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidCase, match=r"none\.json: No such file"):
        read_topology(tmp_path / "none.json")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["cpus", "hwid", "boot_cpu", "midr", "id_registers"]), inner)
        ),
    )
)
def test_any_json_gives_a_topology_or_a_typed_error(
    tmp_path_factory: pytest.TempPathFactory, data: object
) -> None:
    path = tmp_path_factory.mktemp("any") / "t.json"
    path.write_text(json.dumps(data))
    with suppress(InvalidCase):
        read_topology(path)

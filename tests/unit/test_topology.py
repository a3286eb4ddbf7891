"""Topologies: what is accepted, how logical CPUs are numbered, what each refusal says."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.arch.mpidr import MPIDR_HWID_BITMASK, hwid
from emu.arch.sysreg import ID_AA64MMFR2_EL1
from emu.errors import InvalidCase
from emu.topology import Cpu, Topology
from emu.topology.generate import broken_topologies, topologies
from emu.topology.json_form import parse_json, to_json
from emu.topology.presets import PRESETS, get_preset
from emu.topology.read import read_topology


def test_a_cpu_that_firmware_does_not_list_can_boot() -> None:
    boot = Cpu(0x500)
    topology = Topology("t", (Cpu(0), Cpu(1)), boot)
    assert topology.boot is boot
    assert Topology("t", (Cpu(0), Cpu(1)), 1).boot.hwid == 1


@given(st.integers(0, 2**64 - 1), st.booleans(), st.booleans())
def test_a_pe_has_the_listed_hwid_without_stray_bits(listed: int, mt: bool, u: bool) -> None:
    """Arm DDI 0487, MPIDR_EL1: bit 31 is RES1, bit 30 U, bit 24 MT."""
    mpidr = Cpu(listed, mt=mt, u=u).mpidr
    assert hwid(mpidr) == listed & MPIDR_HWID_BITMASK
    assert (mpidr >> 31 & 1, mpidr >> 30 & 1, mpidr >> 24 & 1) == (1, u, mt)


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
        ('{"cpus": [{"hwid": 18446744073709551616}]}', r"cpus\[0\].hwid=18446744073709551616: .* 64 bits"),
        ('{"cpus": [{"hwid": 0, "midr": "0x100000000"}]}', r"cpus\[0\].midr='0x100000000': .* 32 bits"),
        ('{"cpus": [{"hwid": 0, "mt": 1}]}', r"cpus\[0\].mt=1: true or false"),
        ('{"cpus": [{"hwid": 0, "thread": -1}]}', r"cpus\[0\].thread=-1"),
        ('{"cpus": [{"hwid": 0, "node": 7}]}', r"cpus\[0\].node=7: a string"),
        ('{"cpus": [{"hwid": 0}], "boot_cpu": {}}', "boot_cpu: a CPU is an object with a hwid"),
        ('{"cpus": [{"hwid": 0}], "conduit": "svc"}', "conduit='svc': not one of smc, hvc"),
        ('{"cpus": [{"hwid": 0}], "firmware": "uboot"}', "firmware='uboot': not one of devicetree, acpi"),
        ('{"cpus": [{"hwid": 0}], "boot_cpu": 1}', "boot_cpu=1"),
        (
            '{"cpus": [{"hwid": 0, "id_registers": {"SCTLR_EL1": 1}}]}',
            "SCTLR_EL1: not one of CLIDR_EL1, CTR_EL0",
        ),
        ('{"cpus": [{"hwid": 0, "id_registers": 5}]}', "id_registers"),
        (
            '{"cpus": [{"hwid": 0, "id_registers": {"CCSIDR_EL1": 1}}]}',
            r"CCSIDR_EL1: not one of .*CCSIDR_EL1\[0\]",
        ),
        ('{"cpus": [{"hwid": 0, "id_registers": {"CCSIDR_EL1[14]": 1}}]}', r"CCSIDR_EL1\[14\]: not one of"),
        (
            '{"cpus": [{"hwid": 0, "id_registers": {"CCSIDR_EL1[2]": 4294967296}}]}',
            r"CCSIDR_EL1\[2\]=4294967296: .* 32 bits",
        ),
        ("{", "not JSON"),
        ("\xff", "not JSON"),
    ],
)
def test_broken_topology_says_what_and_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidCase, match=says) as caught:
        read_topology(str(path))
    assert "\n" not in str(caught.value)
    assert "t.json" in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidCase, match=r"none\.json: No such file"):
        read_topology(str(tmp_path / "none.json"))


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
        read_topology(str(path))


@given(topologies() | broken_topologies())
def test_what_is_written_as_json_is_read_as_the_same(topology: Topology) -> None:
    again = parse_json(json.dumps(to_json(topology)).encode(), topology.name)
    assert again == topology


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_json_form(name: str) -> None:
    preset = get_preset(name)
    assert parse_json(json.dumps(to_json(preset)).encode(), preset.name) == preset


def test_json_names_id_registers_and_leaves_defaults_out() -> None:
    topology = Topology("t", (Cpu(0), Cpu(256, id_registers={ID_AA64MMFR2_EL1: 0x10000}, mt=True)), Cpu(1))
    assert to_json(topology) == {
        "firmware": "devicetree",
        "boot_cpu": {"hwid": "0x1"},
        "cpus": [
            {"hwid": "0x0"},
            {"hwid": "0x100", "id_registers": {"ID_AA64MMFR2_EL1": "0x10000"}, "mt": True},
        ],
    }


def test_what_a_file_is_its_bytes_say(tmp_path: Path) -> None:
    path = tmp_path / "machine"
    path.write_text(' {"cpus": [{"hwid": 3}]}')
    assert read_topology(str(path)).cpus == (Cpu(3),)
    path.write_bytes(b"\x7fELF")
    with pytest.raises(InvalidCase, match="neither JSON, a device tree blob, nor an ACPI MADT"):
        read_topology(str(path))
    with pytest.raises(InvalidCase, match="a directory without a MADT"):
        read_topology(str(tmp_path))


def test_boot_cpu_given_besides_the_topology_wins() -> None:
    assert read_topology("boot-elsewhere", 1).boot_cpu == 1
    with pytest.raises(InvalidCase, match="boot_cpu=8"):
        read_topology("flat:8", 8)

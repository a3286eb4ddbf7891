"""Every shape of machine with every design that can boot it."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from booting import run

from emu.designs import DESIGNS
from emu.errors import InvalidCase
from emu.host import smp
from emu.host.guest import Guest
from emu.operation import Operation
from emu.topology.presets import PRESETS, get_preset

BAD = [name for name in PRESETS if name.startswith("bad-")]
# rfc never fills entry 0 of its table, and 0 is a hwid.
MISLED = {("rfc", "boot-elsewhere")}


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "largest"])
def test_every_design_boots_every_preset(design: str, preset: str) -> None:
    done = run(f"{design} topology={preset}")
    logical = done.boot.guest.logical
    if (design, preset) in MISLED:
        assert done.outcomes.count("online") == len(logical.possible) - 1
        return
    assert done.messages == []
    enabled = {cpu for cpu in logical.possible if done.boot.guest.cpu(cpu).enabled}
    assert {cpu for cpu, outcome in enumerate(done.outcomes) if outcome == "online"} == enabled
    assert bool(logical.messages) == (preset in BAD and preset != "bad-reserved-bits")


def test_cpus_from_all_over_a_table_of_4096_boot() -> None:
    """Each scans up to its own entry: with all of them most of the time would go into the same loop."""
    last = 511
    later = range(last + 64, 4096, 64)
    done = run(
        f"v3 topology=largest append=maxcpus={last + 1} hotplug={','.join(f'{cpu}:online' for cpu in later)}"
    )
    assert done.messages == []
    online = [cpu for cpu, outcome in enumerate(done.outcomes) if outcome == "online"]
    assert online == [*range(last + 1), *later]
    assert online[-1] == 4095


@pytest.mark.parametrize("design", [name for name in DESIGNS if name != "rfc"])
def test_first_and_last_of_4096_cpus_boot_with_every_design(design: str) -> None:
    """The table is full; whatever a design has for each CPU must reach from its first entry to its last."""
    done = run(f"{design} topology=largest append=maxcpus=4 hotplug=4095:online")
    assert done.messages == []
    assert [cpu for cpu, outcome in enumerate(done.outcomes) if outcome == "online"] == [0, 1, 2, 3, 4095]


def test_a_thousand_of_4096_cpus_boot_with_rfc() -> None:
    """Its data is read-only after init: no CPU comes later. What is online at the end is what came up."""
    done = run("rfc topology=largest append=maxcpus=1024")
    assert done.messages == []
    assert done.outcomes == ["online"] * 1024 + ["off"] * 3072


def test_rfc_with_a_secondary_of_hwid_0_is_found_and_explained() -> None:
    """Its table starts as zeros and has no entry for logical CPU 0."""
    done = run("rfc topology=boot-elsewhere")
    assert done.messages[0].startswith("CPU1 never came to secondary_start_kernel: asleep in WFE")
    assert done.messages[1:] == [
        "CPU1: entry 0 of __mpidr_to_cpuid_table holds its hwid 0x0, not CPU0's 0x10000: "
        "the look-up stops there and takes CPU0's slot"
    ]


def test_a_table_without_a_cpu_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: CPU 2's entry is written with another hwid."""
    honest = smp.write_entry

    def planted(guest: Guest, cpu: int, value: int) -> Generator[Operation, Any, None]:
        return honest(guest, cpu, 0x77 if cpu == 2 else value)

    monkeypatch.setattr(smp, "write_entry", planted)
    assert "CPU2: its hwid 0x2 is in no entry of __cpu_logical_map" in run("v3 topology=flat:4").messages


def test_acpi_numbers_a_bad_list_in_another_way_than_a_device_tree() -> None:
    tree, acpi = (run(f"v3 topology=bad-duplicate firmware={kind}") for kind in ("devicetree", "acpi"))
    assert [cpu is None for cpu in tree.boot.guest.logical.cpus].count(True) == 2
    assert None not in acpi.boot.guest.logical.cpus
    assert tree.outcomes.count("online") == acpi.outcomes.count("online") == 6


def test_a_case_says_more_than_its_topology(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    psci = {"hwid": 0, "enable_method": "psci"}
    path.write_text(json.dumps({"conduit": "hvc", "cpus": [psci, psci | {"hwid": 1}]}))
    assert run(f"v3 topology={path}").boot.topology.conduit == "hvc"
    assert run(f"v3 topology={path} conduit=smc").boot.topology.conduit == "smc"
    assert run(f"v3 topology={path} enable-method=spin-table").boot.guest.method_of(1) == "spin-table"
    with pytest.raises(InvalidCase, match="conduit=hvc: HVC goes to the kernel's own EL2"):
        run(f"v3 topology={path} el=2")


def test_methods_that_firmware_mixes_are_each_cpus_own(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    pen = {"enable_method": "spin-table", "release_addr": "0x8000fff8"}
    psci = {"enable_method": "psci"}
    path.write_text(json.dumps({"cpus": [{"hwid": 0}, {"hwid": 1} | psci, {"hwid": 2} | pen]}))
    done = run(f"mainline topology={path}")
    assert done.outcomes == ["online"] * 3
    assert done.messages == []
    calls = [actor.pe.counters.calls for actor in done.boot.machine.actors]
    assert calls[0] == 1  # CPU_ON of CPU 1 alone


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("v3 firmware=uefi", "firmware=uefi: not one of devicetree, acpi"),
        ("v3 enable-method=pen", "enable-method=pen: not one of parking-protocol, psci, spin-table"),
        ("v3 firmware=acpi enable-method=spin-table", "firmware=acpi describes parking-protocol or psci"),
        ("v3 append=acpi=off enable-method=parking-protocol", "firmware=devicetree describes psci or spin"),
        ("v3 topology=bad-duplicate fault=3:no-granule", "the kernel has no CPU3 from this topology"),
        ("v3 topology=flat:0", "NR_CPUS is 1..4096"),
        ("v3 topology=flat:x", "flat:x"),
    ],
)
def test_contradictions_are_refused(case: str, says: str) -> None:
    with pytest.raises(InvalidCase, match=says) as caught:
        run(case)
    assert "\n" not in str(caught.value)


def test_siblings_of_a_preset_wait_for_the_primary_threads() -> None:
    """SMT-aware kernels bring the first threads of all cores up before the second ones."""
    assert [cpu.thread for cpu in get_preset("smt:8").cpus] == [0, 1] * 4
    lines = run("v3 topology=smt:8 bringup=parallel").lines
    order = [int(line.split(":")[0][3:]) for line in lines if "Booted" in line]
    assert order == [2, 4, 6, 1, 3, 5, 7]

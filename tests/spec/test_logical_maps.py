"""A kernel's own __cpu_logical_map and messages against what we make of the same firmware."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from booting import Run, run
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from emu.arch.mpidr import INVALID_HWID
from emu.errors import Untestable
from emu.host import kernel
from emu.host.smp_init_cpus import smp_init_cpus
from emu.topology import Topology
from emu.topology.generate import broken_topologies, topologies
from emu.topology.json_form import to_json

_LOG_SIZE = 1 << 17
# A primary boots for real in each example: few, the same every time, and no shrinking through 0.4 s each.
few = settings(
    max_examples=12,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def boot(image: Path, topology: Topology, folder: Path) -> Run:
    """Boot ``image`` on this topology."""
    path = folder / "topology.json"
    path.write_text(json.dumps(to_json(topology)))
    return run(f"{image} topology={path}")


def holds(done: Run) -> None:
    """The kernel's map, entry by entry, and its messages are ours."""
    memory, subject, logical = done.boot.machine.memory, done.boot.guest.subject, done.boot.guest.logical
    pa = subject.pa("__cpu_logical_map")
    nr_cpus = 256 if subject.name.endswith("Image") else 512
    theirs = [memory.read(pa + 8 * cpu, 8) for cpu in range(nr_cpus)]
    ours = list(logical.cpu_logical_map)
    assert theirs == ours + [INVALID_HWID] * (nr_cpus - len(ours))
    log = memory.read_bytes(subject.pa("__log_buf"), _LOG_SIZE)
    for line in logical.messages:
        assert line.encode() in log
    count = sum(
        log.count(text)
        for text in (
            b"duplicate",
            b"missing boot CPU",
            b"invalid MPIDR",
            b"missing enable-",
            b"missing or",
            b"nsupported",
        )
    )
    assert count == len(logical.messages), logical.messages
    assert done.messages == []


@pytest.mark.parametrize("variable", ["EMU_KERNEL_612", "EMU_KERNEL_SMALL"])
@few
@given(data=st.data())
def test_map_from_our_device_tree_is_the_kernels(
    real_kernel: Callable[[str], Path], tmp_path: Path, variable: str, data: st.DataObject
) -> None:
    topology = data.draw(topologies(firmware="devicetree") | broken_topologies(firmware="devicetree"))
    holds(boot(real_kernel(variable), topology, tmp_path))


@few
@given(data=st.data())
def test_map_from_our_acpi_tables_is_the_kernels(
    real_kernel: Callable[[str], Path], tmp_path: Path, data: st.DataObject
) -> None:
    topology = data.draw(topologies(firmware="acpi") | broken_topologies(firmware="acpi"))
    holds(boot(real_kernel("EMU_KERNEL_612"), topology, tmp_path))


def test_planted_difference_is_not_passed_over(
    real_kernel: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were our walk wrong, the comparison after the take-over would say at which entry."""
    image = real_kernel("EMU_KERNEL_SMALL")

    def wrong(config: kernel.BootConfig, nr_cpus: int, *, online_capable: bool = True) -> object:
        found = smp_init_cpus(config.topology, nr_cpus, nr_cpus)
        ours = list(found.cpu_logical_map)
        ours[2], ours[3] = ours[3], ours[2]
        return replace(found, cpu_logical_map=tuple(ours))

    monkeypatch.setattr(kernel.BootConfig, "logical", wrong)
    with pytest.raises(Untestable, match=r"__cpu_logical_map\[2\] is 0x2 after smp_init_cpus\(\), not 0x3"):
        run(f"{image} topology=flat:4")

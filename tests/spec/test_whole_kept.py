"""Boots that are kept on disk: what goes on from one comes to the same, and nothing else is taken for one."""

from __future__ import annotations

import hashlib
import os
import random
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from programs import run_emu

from emu.case import Case
from emu.errors import InvalidCase
from emu.explore.whole import explore_whole
from emu.host.whole import kept
from emu.host.whole.boot import WholeBoot
from emu.host.whole.graph import Graph
from emu.host.whole.kept import boot_at
from emu.host.whole.recording import boot_from
from emu.host.whole.warm import warm

Kernel = Callable[[str], Path]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of kept boots, which is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "emu" / "whole"


def state(boot: WholeBoot) -> tuple[object, ...]:
    """Return what a run has come to: memory, CPUs, log, and the trace with its times."""
    machine = boot.machine
    cpus = [(actor.time, actor.pe.counters.as_dict(), actor.pe.state()) for actor in machine.actors]
    memory = hashlib.sha256(machine.memory.view).hexdigest()
    times = machine.trace.times.tobytes()
    boot.read_log()
    return memory, cpus, list(machine.trace.rows()), times, [(e.time, e.text) for e in boot.lines], boot.how


def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of where boots are run to from now on."""
    told: list[str] = []
    run_to = kept.run_to

    def noted(boot: WholeBoot, start: str, option: str) -> None:
        told.append(start)
        run_to(boot, start, option)

    monkeypatch.setattr(kept, "run_to", noted)
    return told


@pytest.mark.parametrize(
    ("variable", "start", "values"),
    [
        ("EMU_KERNEL_SMALL", "smp_init", {}),
        ("EMU_KERNEL_SMALL", "start_kernel", {}),
        ("EMU_KERNEL_SMALL", "smp_init", {"record_from": "smp_init"}),
        ("EMU_KERNEL_RFC", "smp_init", {"fault": "2:no-granule", "until": "panic"}),
    ],
)
def test_a_boot_that_was_run_ahead_and_brought_back_comes_to_the_same(
    variable: str, start: str, values: dict[str, Any], real_kernel: Kernel
) -> None:
    """The kernel patches itself on the way: what was translated of that is not executed. Its records are the
    same too, and those of stores to the early status.
    """
    case = Case(str(real_kernel(variable)), topology="flat:3", depth="whole", **values)
    straight, boot = boot_from(case, keeps=False), boot_from(case, start)
    straight.run()
    for _ in range(2):
        assert warm(boot)
    boot.run()
    assert state(boot) == state(straight)


@pytest.mark.parametrize(
    ("variable", "start", "values"),
    [
        ("EMU_KERNEL_SMALL", "smp_init", {}),
        ("EMU_KERNEL_SMALL", "smp_init", {"gic": "gicv2", "el": 2}),
        ("EMU_KERNEL_SMALL", "bringup_cpu", {"fault": "1:late:300000,2:never-starts"}),
        ("EMU_KERNEL_SMALL", "secondary_start_kernel", {"scheduler": "random:3", "fault": "2:late:300000"}),
        ("EMU_KERNEL_SMALL", "smp_init", {"record_from": "smp_init"}),
        ("EMU_KERNEL_612", "smp_init", {"append": "earlycon"}),
        ("EMU_KERNEL_612", "smp_init", {"firmware": "acpi"}),
    ],
)
def test_what_goes_on_from_a_kept_boot_comes_to_the_same(
    variable: str, start: str, values: dict[str, Any], real_kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, as if it had never been kept and as if it had never stopped there."""
    case = Case(str(real_kernel(variable)), topology="flat:3", depth="whole", **values)
    told = runs(monkeypatch)
    boots = [boot_from(case, keeps=False), boot_from(case, start), boot_from(case, start)]
    assert told == [start]
    for boot in boots:
        boot.run()
    states = [state(boot) for boot in boots]
    assert states[0] == states[1]
    assert states[0] == states[2]


def test_a_file_that_is_damaged_is_written_again(
    real_kernel: Kernel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(str(real_kernel("EMU_KERNEL_SMALL")), topology="flat:2", depth="whole")
    told = runs(monkeypatch)
    boot_at(case, "smp_init")
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    draw = random.Random(1)
    at = draw.randrange(len(whole))
    damaged = [
        b"",
        whole[:20],
        whole[:-1],
        whole + b"x",
        whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :],
    ]
    for number, data in enumerate(damaged):
        file.write_bytes(data)
        boot = boot_at(case, "smp_init")
        assert len(told) == number + 2
        assert file.read_bytes() == whole
    boot.run()
    assert boot.reached


def test_another_case_another_place_and_another_emu_have_a_file_of_their_own(
    real_kernel: Kernel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = str(real_kernel("EMU_KERNEL_SMALL"))
    case = Case(kernel, topology="flat:2", depth="whole")
    told = runs(monkeypatch)
    boot_at(case, "smp_init")
    boot_at(case, "smp_prepare_cpus")
    boot_at(Case(kernel, topology="flat:2", depth="whole", append="quiet"), "smp_init")
    monkeypatch.setattr(kept, "VERSION", "0.0.0")
    boot_at(case, "smp_init")
    monkeypatch.setattr(kept, "_sources", lambda: "changed")
    boot_at(case, "smp_init")
    assert len(told) == len(list(folder.iterdir())) == 5
    first, second, *_ = sorted(folder.iterdir())
    first.write_bytes(second.read_bytes())  # of another machine: the name alone does not make it this one's
    with pytest.raises(InvalidCase, match="no symbol"):
        boot_at(case, "nowhere")
    assert len(list(folder.iterdir())) == 5


def test_there_are_no_more_than_so_many_and_the_longest_unused_go(
    real_kernel: Kernel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "FILES_MAX", 2)
    case = Case(str(real_kernel("EMU_KERNEL_SMALL")), topology="flat:2", depth="whole")
    told = runs(monkeypatch)
    for start in ("setup_arch", "smp_prepare_cpus"):
        boot_at(case, start)
        for file in folder.iterdir():
            os.utime(file, (1 + len(told), 1 + len(told)))
    boot_at(case, "setup_arch")  # and it is the newest now
    boot_at(case, "smp_init")
    assert len(list(folder.iterdir())) == 2
    boot_at(case, "setup_arch")
    assert told == ["setup_arch", "smp_prepare_cpus", "smp_init"]


def test_a_search_from_a_kept_boot_finds_the_same(
    real_kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(str(real_kernel("EMU_KERNEL_SMALL")), topology="flat:3", depth="whole")
    told = runs(monkeypatch)
    found = [explore_whole(case, schedules=4) for _ in range(2)]
    assert told == ["smp_init"]
    assert found[0] == found[1]


def test_the_command_prints_the_same_from_a_kept_boot_on(real_kernel: Kernel, folder: Path) -> None:
    words = (
        "boot",
        str(real_kernel("EMU_KERNEL_612")),
        "--depth",
        "whole",
        "--cpus",
        "2",
        "--append",
        "earlycon keep_bootcon",
    )
    whole = run_emu(*words)
    said = [run_emu(*words, "--from", "smp_init") for _ in range(2)]
    assert [each.stdout for each in said] == [whole.stdout] * 2
    assert len(list(folder.iterdir())) == 1
    assert re.search("smp: Bringing up secondary CPUs", whole.stdout)
    done = run_emu("boot", "v3", "--from", "smp_init")
    assert (done.returncode, done.stderr) == (2, "emu: --from: --depth whole alone has that\n")


# -- the state of objects --------------------------------------------------------------------------


class Counter:
    """Has state in an attribute, in a closure, in a container and in a generator of random numbers."""

    def __init__(self) -> None:
        count = 0

        def add() -> int:
            nonlocal count
            count += 1
            return count

        self.add = add
        self.twice = partial(self._twice, 2)
        self.list: list[Any] = [self]
        self.random = random.Random(1)
        self.new: object = None

    def _twice(self, by: int) -> int:
        return by * self.add()


Counter.__module__ = "emu.counter"


def test_state_is_kept_wherever_an_object_has_it() -> None:
    first, second = Counter(), Counter()
    graphs = [Graph(each, (), ()) for each in (first, second)]
    assert graphs[0].shape == graphs[1].shape
    first.twice()
    first.list.append([first, first.list])
    first.random.random()
    first.new = first.add
    graphs[1].load(graphs[0].dump())
    assert second.add() == first.add() == 2
    assert second.list[0] is second
    assert second.list[1][0] is second
    assert second.list[1][1] is second.list
    assert second.random.random() == first.random.random()
    assert second.new is second.add


def test_what_has_state_that_cannot_be_seen_is_not_kept() -> None:
    first = Counter()
    first.list.append(iter([1, 2]))
    graph = Graph(first, (), ())
    with pytest.raises(TypeError):
        graph.dump()
    other = Counter()
    graph = Graph(other, (), ())
    other.new = lambda: 1
    with pytest.raises((AttributeError, TypeError)):
        graph.dump()


def test_a_module_that_goes_to_another_folder_is_another_emu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its bytes and time as they were: what was kept is of the emu that kept it."""
    for folder in ("host/whole", "cpu"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(kept, "__file__", str(tmp_path / "host" / "whole" / "kept.py"))
    module = tmp_path / "cpu" / "pe.py"
    module.write_text("")
    before = kept._sources.__wrapped__()
    module.rename(tmp_path / "host" / "pe.py")
    assert kept._sources.__wrapped__() != before

"""All pairs of options: every run ends with a documented status, and what is accepted is in its case."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from programs import run_emu

from emu.case import Case

STATUSES = {0, 1, 2, 125}
SEED = int(os.environ.get("EMU_PAIRS_SEED", "0"))
LIMIT = ("--instructions-max", "300000")  # so that each ends in well under a second
# Options that make a case, each with values of every kind: ordinary, at an end, of another option's realm.
CASE: Mapping[str, Sequence[str]] = {
    "SUBJECT": ("v3", "mainline", "rfc", "context-id"),
    "--topology": ("flat:1", "flat:3", "smt:4", "bad-holes:4", "vcpus:4", "boot-elsewhere:3"),
    "--boot-cpu": ("", "0", "1", "9"),
    "--nr-cpus": ("", "2", "4096"),
    "--bringup": ("", "serial", "split", "parallel"),
    "--firmware": ("", "devicetree", "acpi"),
    "--enable-method": ("", "psci", "spin-table", "parking-protocol"),
    "--conduit": ("", "smc", "hvc"),
    "--el": ("", "2"),
    "--cpu": ("", "neoverse-n1", "max"),
    "--scheduler": ("", "random:1", "timed", "pct:1", "timed:3"),
    "--memory": ("", "caches"),
    "--granule": ("", "128"),
    "--latency": ("", "zero"),
    "--event-register": ("", "1"),
    "--base": ("", "6.12", "v3"),
    "--fault": (
        "",
        "1:no-clean",
        "2:late:5",
        "1:no-sev",
        "1:die-early",
        "2:never-starts",
        "1:refuse-after-off",
    ),
    "--append": ("", "maxcpus=2", "nosmp", "cpuhp.parallel=no", "quiet", "acpi=off"),
    "--cycle": ("", "1"),
    "--hotplug": ("", "1:offline,1:online"),
    "--kexec": ("", "v3@1"),
    "--device": ("", "pl011@0x9000000"),
    "--design": ("", "v3"),
    "--system-map": ("", "nowhere"),
    "--assert": ("", "eventually cpu?@secondary_start_kernel", "never [vabits_actual] == 7", "finally 9@x"),
    "--force": ("", "yes"),
}
OWN: Mapping[str, Mapping[str, Sequence[str]]] = {
    "boot": {"FORM": ("", "--json", "--ktap", "-v")},
    "explore": {
        "FORM": ("", "--json", "--ktap"),
        "--preemptions": ("", "1"),
        "--steps-max": ("200",),
        "--max-schedules": ("2",),
        "--early": ("", "1"),
        "--all": ("", "yes"),
        "--no-reduction": ("", "yes"),
        "--spurious": ("", "yes"),
    },
    "trace": {
        "FORM": ("--output t", "--ftrace t", "--output t --grain operation"),
        "--run-grain": ("", "operation"),
    },
    "step": {"FORM": ("--script s",)},
}
LOOKUP: Mapping[str, Sequence[str]] = {
    "SUBJECT": ("v3", "rfc", "mainline", "nowhere.S"),
    "--nr-cpus": ("", "1", "3", "0"),
    "--max-cpus": ("", "2", "0"),
    "--cases": ("0", "200"),
    "--seed": ("", "7"),
    "--matches": ("", "0", "101"),
    "--case": ("", "v3 nr-cpus=2 map=0x0 mpidr=0x80000000", "nonsense"),
    "--system-map": ("", "nowhere"),
    "--contract": ("", "nowhere.toml"),
    "FORM": ("", "--json", "--ktap"),
}
# At depth whole alone: what goes together, and what is refused with everything, or with much.
WHOLE: Mapping[str, Sequence[str]] = {
    "--topology": ("flat:1", "flat:3", "smt:4"),
    "--gic": ("", "gicv2", "gicv3"),
    "--ram": ("", "256"),
    "--turn": ("", "1", "100"),
    "--irq-late": ("", "3:5000"),
    "--initrd": ("", "some"),
    "--input": ("", "some"),
    "--record-from": ("", "smp_init"),
    "--until": ("", "panic", "smp_prepare_cpus"),
    "--append": ("", "quiet", "maxcpus=1"),
    "--scheduler": ("", "random:1", "timed"),
    "--el": ("", "2"),
    "FORM": ("", "--json", "--ktap", "-v"),
}
ODD: Mapping[str, Sequence[str]] = {
    "--gic": ("gicv4",),
    "--ram": ("1",),
    "--turn": ("0",),
    "--irq-late": ("late",),
    "--initrd": ("nowhere",),
    "--input": ("nowhere",),
    "--dtb": ("some", "nowhere"),
    "--record-from": ("nowhere",),
    "--until": ("Brought up", "nobody says so"),
    "--scheduler": ("pct:1",),
    "--cpu": ("max",),
    "--event-register": ("1",),
    "--firmware": ("acpi",),
    "--fault": ("1:never-starts", "1:no-clean"),
    "--cycle": ("1",),
    "--memory": ("caches",),
    "--latency": ("zero",),
}
WHOLE_LIMIT = ("--instructions-max", "6500000")  # the small kernel has its CPUs up by 5.8 million
FLAGS = {"--force", "--all", "--no-reduction", "--spurious"}


def covering(options: Mapping[str, Sequence[str]], seed: int) -> Iterator[dict[str, str]]:
    """Rows in which every two values of two options are together at least once."""
    rng, names = random.Random(seed), list(options)
    left = {
        frozenset(((one, first), (other, second)))
        for one, other in itertools.combinations(names, 2)
        for first in options[one]
        for second in options[other]
    }
    while left:
        row = dict(min(left, key=sorted))
        for name in rng.sample(names, len(names)):
            if name not in row:
                gain = [
                    sum(frozenset(((name, value), pair)) in left for pair in row.items())
                    for value in options[name]
                ]
                row[name] = options[name][gain.index(max(gain))]
        left -= {frozenset(pair) for pair in itertools.combinations(row.items(), 2)}
        yield row


def words_of(row: Mapping[str, str]) -> list[str]:
    """The command line of a row."""
    words: list[str] = []
    for name, value in row.items():
        if name == "SUBJECT":
            words.insert(0, value)
        elif name == "FORM" and value:
            words += value.split()
        elif value:
            words += [name] if name in FLAGS else [name, value]
    return words


def rows_of(options: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Every row of a covering array, in a fixed order."""
    return list(covering(options, SEED))


def pairs_of(options: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Every two options alone, with drawn values: in a whole row one refusal hides the others."""
    rng = random.Random(SEED)
    values = {name: [value for value in given if value] for name, given in options.items()}
    return [
        {"SUBJECT": "v3", one: rng.choice(values[one]), other: rng.choice(values[other])}
        for one, other in itertools.combinations(values, 2)
    ]


def check(command: str, row: Mapping[str, str], folder: Path) -> None:
    """Run a row and look at how it ends, and at its case."""
    words = [command, *words_of(row)]
    if command == "step":  # its processes print
        (folder / "s").write_text("step\nwhere\n")
        program = [sys.executable, "-m", "emu", *words]
        done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    else:
        done = run_emu(*words, cwd=folder)
    shown = f"emu {' '.join(words)}: {done.returncode}\n{done.stderr}"
    assert done.returncode in STATUSES, shown
    assert "Traceback" not in done.stderr, shown
    if done.returncode == 2 and "--ktap" not in words:
        assert done.stdout == "", shown
        assert len(done.stderr.splitlines()) == 1, shown
    for line in done.stdout.splitlines():
        if command != "lookup" and line.startswith("case: "):
            found = Case.parse(line.removeprefix("case: "))
            # The case of a finding has the schedule that shows it, and that schedule's grain.
            own = {*FLAGS, *(("--scheduler", "--grain") if found.scheduler.startswith("replay:") else ())}
            for name, value in row.items():
                field = name.removeprefix("--").replace("-", "_")
                if value and name.startswith("--") and hasattr(found, field) and name not in own:
                    assert str(getattr(found, field)) == value, f"{shown}{line}"


@pytest.mark.parametrize("command", OWN)
def test_every_pair_of_options_ends_with_a_documented_status(command: str, tmp_path: Path) -> None:
    """EMU_EVERY_PAIR=1: all of them; else a part that CI has the time for."""
    options = {**CASE, **OWN[command]}
    bounded = {"--max-schedules": "2"} if command == "explore" else {"--instructions-max": LIMIT[1]}
    output = {"trace": {"FORM": "--output t"}, "step": {"FORM": "--script s"}}.get(command, {})
    rows = rows_of(options) + pairs_of(options)
    step = (
        1
        if os.environ.get("EMU_EVERY_PAIR")
        else {"boot": 10, "explore": 24, "trace": 40, "step": 60}[command]
    )
    for row in rows[::step]:
        check(command, {**output, **bounded, **row}, tmp_path)


def test_every_pair_of_a_look_up_ends_with_a_documented_status(tmp_path: Path) -> None:
    rows = rows_of(LOOKUP)
    for row in rows if os.environ.get("EMU_EVERY_PAIR") else rows[::4]:
        check("lookup", {"--max-cpus": "3", **row} if not row["--max-cpus"] else row, tmp_path)


def test_every_pair_at_depth_whole_ends_with_a_documented_status(
    tmp_path: Path, real_kernel: Callable[[str], Path]
) -> None:
    kernel = str(real_kernel("EMU_KERNEL_SMALL"))
    (tmp_path / "some").write_bytes(b"some bytes")
    every = {name: (*WHOLE.get(name, ()), *ODD.get(name, ())) for name in WHOLE | ODD}
    rows = rows_of(WHOLE) + [{**row, "--topology": "flat:2"} for row in pairs_of(every)]
    fixed = {"SUBJECT": kernel, "--depth": "whole", WHOLE_LIMIT[0]: WHOLE_LIMIT[1]}
    for row in rows if os.environ.get("EMU_EVERY_PAIR") else rows[::30]:
        check("boot", {**row, **fixed}, tmp_path)


def test_the_rows_have_every_pair() -> None:
    options = {"a": ("1", "2"), "b": ("1", "2", "3"), "c": ("1", "2"), "d": ("1", "2", "3")}
    rows = rows_of(options)
    for one, other in itertools.combinations(options, 2):
        pairs = {(row[one], row[other]) for row in rows}
        assert pairs == set(itertools.product(options[one], options[other]))
    assert len(rows) < 16

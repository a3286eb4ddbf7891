"""docs/measured.md, which ``make bench`` writes, and the table of README.md, which is made of it.

Every benchmark has a section there. A run of some of them replaces their sections and leaves the others, as
long as machine and versions are the same; no number is typed by hand.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.process import ROOT
from bench.result import Absent, Benchmark, Broken, Result, number

DOCUMENT = ROOT / "docs" / "measured.md"
README = ROOT / "README.md"
_BEGIN, _END = "<!-- made by python -m bench --readme -->", "<!-- end of what is made -->"
_WIDTH = 116
_HEAD = """# Measured

`make bench` measures emu on your machine and writes this file; `make bench BENCH_ARGS="--only lookup_256"`
replaces one section. `EMU_KERNEL_612` names the kernel; `eval "$(tools/fetch-kernels 612)"` gets it. No
number here is typed by hand, and the table of [README](../README.md) is made of this file.

Times are CPU time, user and system, unless said: wall time depends on who else is at work. Each sample is a
fresh process; a figure is the median of its samples, and what is compared ran by turns. A goal that is not
met is no failure. Figures of others that this command does not measure are marked as published.
`python -m bench --compare TREE` compares two checkouts.
"""
# What README.md shows: a line for people, and the figures by name.
_README: tuple[tuple[str, str], ...] = (
    ("`emu boot IMAGE`, Debian's 6.12, 8 CPUs, a cold process, every rule", "{cold_boot_612_8}"),
    ("each further secondary of that image, process and all; `machine.run()` alone",
     "{per_secondary_612.as_paid}; {per_secondary_612.run}"),
    ("8 and 128 CPUs of it, against QEMU (TCG) to \"Brought up\"; `emu` plays the kernel's C side",
     "{qemu_612_8.emu} : {qemu_612_8.qemu}; {qemu_612_128.emu} : {qemu_612_128.qemu}"),
    ("the same with `--depth whole`, which is QEMU's work",
     "{whole_612_8.emu} : {whole_612_8.qemu}; {whole_612_128.emu} : {whole_612_128.qemu}"),
    ("8 CPUs from a boot kept at `smp_init`, with and without the process; one schedule more, its accesses",
     "{whole_kept_612_8.process}, {whole_kept_612_8}; {whole_kept_612_8.again}, {whole_kept_612_8.observed}"),
    ("`emu boot rfc --cpus 4096`", "{rfc_4096}, {rfc_4096.memory}"),
    ("random look-ups of v3, 256 entries, 75 % in the table, everything checked, one core", "{lookup_256}"),
    ("the same, against the bare loop in the guest, and one engine entry for each from Python",
     "{lookup_256.of_bare} : 1, {lookup_256.over_one_by_one} : 1"),
    ("`emu lookup v3 --nr-cpus 256`, cases, the whole command; rfc, which has findings",
     "{lookup_command}; {lookup_command.findings}"),
    ("`emu explore v3`, all orders of 3, 4 and 63 secondaries",
     "{explore_whole.v3.3}, {explore_whole.v3.4}, {explore_whole.v3.63}"),
    ("the same with `--memory caches`, 2 secondaries; spin-table",
     "{explore_whole.v3.2.caches}; {explore_whole.pen.2.caches}"),
    ("`emu explore`, mainline forced parallel, all orders of 3 and 4 secondaries, every end judged",
     "{explore_scale.racy.3}, {explore_scale.racy.4}"),
    ("all schedules of mainline with 2 secondaries, against those explored",
     "over 10^{explore_reduction} : 1"),
    ("8 CPUs, operations that are recorded; instructions, another CPU at each",
     "{operation_grain}; {instruction_grain}"),
    ("every instruction with all registers to a file, against QEMU's `-d exec,cpu`",
     "{trace_registers.emu} : {trace_registers.qemu}"),
    ("`stepi` of gdb, 1 and 8 CPUs, by QEMU's gdbstub", "{gdb_stepi_1} : 1, {gdb_stepi_8} : 1"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a benchmark: its figures, or why there are none."""

    benchmark: Benchmark
    figures: Sequence[Result | Absent] = ()
    skipped: str = ""


def section(outcome: Outcome) -> str:
    """Return the section of a benchmark, from its heading on."""
    about = outcome.benchmark
    lines = [f"## {about.name}", "", *_wrapped(about.function.__doc__ or ""), ""]
    for heading, text in about.about.items():
        lines += _wrapped(f"- {heading}: {text}", "  ")
    lines.append("")
    if outcome.skipped:
        return "\n".join([*lines, *_wrapped(f"Not measured: {outcome.skipped}."), ""])
    lines += ["| figure | median | range of n | goal | |", "|---|---|---|---|---|"]
    for found in outcome.figures:
        if isinstance(found, Absent):
            lines.append(f"| `{found.name}` | | | | not measured: {found.reason} |")
            continue
        goal = f"{found.goal} {found.unit}, {found.verdict}" if found.goal else ""
        spread = f"{found.spread} of {len(found.samples)}" if len(found.samples) > 1 else "1"
        lines.append(f"| `{found.name}` | {_value(found)} | {spread} | {goal} | {found.note} |")
    return "\n".join([*lines, ""])


def document(machine: Mapping[str, Any], outcomes: Sequence[Outcome], order: Sequence[str], old: str) -> str:
    """Return docs/measured.md with the sections of these benchmarks, and the others as ``old`` has them.

    What ``old`` has of another machine or of other versions is dropped.

    :param order: names of all benchmarks, as they are to stand
    """
    kept = sections(old) if same_machine(machine, old) else {}
    made = {outcome.benchmark.name: section(outcome) for outcome in outcomes}
    body = [made.get(name) or kept.get(name) for name in order]
    return "\n".join([_HEAD, _machine(machine), *(text for text in body if text)])


def same_machine(machine: Mapping[str, Any], old: str) -> bool:
    """Whether the figures of ``old`` were measured on this machine with these versions."""
    return sections(old).get("Machine") == _machine(machine)


def _machine(machine: Mapping[str, Any]) -> str:
    # The section that says where the figures come from.
    return "\n".join(
        ["## Machine", "", *(f"- {key}: {value}" for key, value in machine.items() if value), ""]
    )


def sections(text: str) -> dict[str, str]:
    """Return the sections of docs/measured.md by their headings."""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    return {part.split("\n", 1)[0].removeprefix("## "): part.rstrip("\n") + "\n" for part in parts}


def medians(text: str) -> dict[str, str]:
    """Return the median of every figure of docs/measured.md, as it stands there."""
    rows = re.findall(r"^\| `([\w.]+)` \| ([^|]+) \|", text, flags=re.MULTILINE)
    return {name: value.strip() for name, value in rows}


def readme_table(text: str) -> str:
    """Return the table of README.md that follows from docs/measured.md; what it lacks is said."""
    found = medians(text)
    lines = ["| what | measured |", "|---|---|"]
    for what, template in _README:
        value = re.sub(r"\{([\w.]+)\}", lambda match: found.get(match[1], "not measured"), template)
        lines.append(f"| {what} | {value} |")
    rows = sections(text)["Machine"].splitlines()[2:]
    machine = dict(row.removeprefix("- ").split(": ", 1) for row in rows)
    of = f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}"
    told = f"CPU time, medians, on {of}, Unicorn {machine['unicorn']}. "
    told += "What each figure covers, with spread, peers, limits and goals: [measured](docs/measured.md)."
    return "\n".join([*_wrapped(told), "", *lines])


def readme(text: str, table: str) -> str:
    """Return README.md with ``table`` between its marks.

    :raises Broken: they are not there
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise Broken(f"{README.name}: no {_BEGIN} ... {_END}")
    return f"{before}{begin}\n{table}\n{end}{after}"


def write_document(
    path: Path, machine: Mapping[str, Any], outcomes: Sequence[Outcome], order: Sequence[str]
) -> None:
    """Write docs/measured.md, or another file in its shape."""
    old = path.read_text() if path.exists() else ""
    path.write_text(document(machine, outcomes, order, old))


def write_readme() -> None:
    """Make the table of README.md again from docs/measured.md."""
    README.write_text(readme(README.read_text(), readme_table(DOCUMENT.read_text())))


def _value(found: Result) -> str:
    unit = {"times": "", "ratio": "", "digits": "", "/s": "/s"}.get(found.unit, f" {found.unit}")
    return f"{number(found.median)}{unit}"


def _wrapped(text: str, indent: str = "") -> list[str]:
    plain = " ".join(text.split())
    return textwrap.wrap(
        plain, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )

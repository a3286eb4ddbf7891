"""``python -m bench``: run the benchmarks, print a table, write JSON and docs/measured.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.boots import cold_boot_612_8, compare_4096, per_secondary_612, rfc_4096
from bench.compare import HEADER as COMPARE_HEADER
from bench.compare import Compared, check_names, figures, note
from bench.exploring import explore_rate, explore_reduction, explore_scale, explore_whole
from bench.gdb import gdb_raw, gdb_reverse, gdb_stepi
from bench.lookups import lookup_256, lookup_command, lookup_shapes
from bench.measured import Outcome, write_document, write_readme
from bench.process import KERNEL_VARIABLE
from bench.qemu import qemu_612_8, qemu_612_128, whole_612_8
from bench.rates import instruction_grain, operation_grain
from bench.result import HEADER, Absent, Benchmark, Broken, Result, Skipped
from bench.starts import cold_start
from bench.tracing import trace_registers
from bench.whole import whole_612_128, whole_612_256, whole_kept_612_8

# The long one comes last.
BENCHMARKS: tuple[Benchmark, ...] = (
    cold_start,
    cold_boot_612_8,
    per_secondary_612,
    rfc_4096,
    compare_4096,
    operation_grain,
    instruction_grain,
    explore_rate,
    explore_reduction,
    explore_whole,
    explore_scale,
    lookup_256,
    lookup_shapes,
    lookup_command,
    trace_registers,
    gdb_raw,
    gdb_stepi,
    gdb_reverse,
    qemu_612_8,
    whole_612_8,
    whole_kept_612_8,
    whole_612_256,
    qemu_612_128,
    whole_612_128,
)
_ROUNDS, _ROUNDS_QUICK = 5, 3
_EPILOG = f"{KERNEL_VARIABLE} names the 6.12 Image (tools/fetch-kernels gets one). An unmet goal is status 0."
_NAMES = [found.name for found in BENCHMARKS]


def main() -> int:
    """Run what was asked for; 1 when something that was measured failed."""
    options = _options()
    if options.readme:
        write_readme()
        return 0
    to_stdout = options.json is not None and str(options.json) == "-"

    def say(line: str) -> None:
        print(line, file=sys.stderr if to_stdout else sys.stdout, flush=True)

    machine = describe_machine()
    say(", ".join(f"{name} {value}" for name, value in machine.items() if value))
    if options.compare is not None:
        return _compare(options, machine, say)
    rounds = options.rounds or (_ROUNDS_QUICK if options.quick else _ROUNDS)
    say(HEADER)
    results: list[dict[str, Any]] = []
    outcomes: list[Outcome] = []
    broken = False
    for found in BENCHMARKS:
        if options.only and found.name not in options.only:
            continue
        made: list[Result | Absent] = []
        try:
            for figure in found.function(rounds, options.quick):
                made.append(figure)
                results.append(figure.as_json() | found.about)
                say(figure.row())
                if isinstance(figure, Result) and figure.note:
                    say(_fill(figure.note, "    "))
            outcomes.append(Outcome(found, made))
        except Skipped as reason:
            results.append({"name": found.name, "skipped": str(reason)} | found.about)
            outcomes.append(Outcome(found, skipped=str(reason)))
            say(f"{found.name:<28} skipped: {reason}")
        except Broken as reason:
            broken = True
            results.append({"name": found.name, "error": str(reason)} | found.about)
            say(f"{found.name:<28} FAILED: {reason}")
        if options.measured is not None:  # after each, so that a run that is cut off leaves what it has
            write_document(options.measured, machine, outcomes, _NAMES)
        for heading, text in found.about.items():
            say(_fill(f"{heading}: {text}", "  "))
    _write(options, {"machine": machine, "quick": options.quick, "benchmarks": results})
    return int(broken)


def _options() -> argparse.Namespace:
    # What was asked for; ends the process with status 2 when that makes no sense.
    parser = argparse.ArgumentParser("python -m bench", description="Measure emu.", epilog=_EPILOG)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write one JSON object (- for stdout)")
    parser.add_argument("--measured", metavar="FILE", type=Path, help="write what docs/measured.md has")
    parser.add_argument("--readme", action="store_true", help="only make README.md's table")
    parser.add_argument("--quick", action="store_true", help=f"{_ROUNDS_QUICK} samples, and one of QEMU")
    parser.add_argument("--rounds", metavar="N", type=int, help="samples, or pairs of processes of --compare")
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help=", ".join(_NAMES))
    parser.add_argument(
        "--compare",
        metavar="TREE",
        type=Path,
        help="CPU time of another checkout and of this one, in turn; status 1 when this one is worse",
    )
    options = parser.parse_args()
    if options.compare is not None:
        wrong = check_names(options.only)
        if not wrong and not (options.compare / "emu" / "__init__.py").is_file():
            wrong = f"{options.compare}: no checkout of emu"
    else:
        unknown = [name for name in options.only if name not in _NAMES]
        wrong = f"{unknown[0]}: not one of {', '.join(_NAMES)}" if unknown else ""
    if options.rounds is not None and options.rounds < 1:
        wrong = f"--rounds {options.rounds}: at least 1"
    if wrong:
        parser.error(wrong)
    return options


def _compare(options: argparse.Namespace, machine: dict[str, Any], say: Callable[[str], None]) -> int:
    # 1 when a figure is worse, or could not be measured.
    say(COMPARE_HEADER)
    results: list[dict[str, Any]] = []
    bad = False
    for found in figures(options.only, options.compare.resolve(), options.quick, options.rounds):
        if isinstance(found, Compared):
            results.append(found.as_json())
            say(found.row())
            bad |= found.verdict == "WORSE"
        else:
            name, reason = found
            skipped = isinstance(reason, Skipped)
            results.append({"name": name, "skipped" if skipped else "error": str(reason)})
            say(f"{name:<24} {'skipped' if skipped else 'FAILED'}: {reason}")
            bad |= not skipped
    say(_fill(note(), ""))
    _write(options, {"machine": machine, "quick": options.quick, "compared": results})
    return int(bad)


def _write(options: argparse.Namespace, report: dict[str, Any]) -> None:
    # The JSON report, where one is asked for.
    if options.json is None:
        return
    text = json.dumps(report, indent=1) + "\n"
    if str(options.json) == "-":
        sys.stdout.write(text)
    else:
        options.json.write_text(text)


def _fill(text: str, indent: str) -> str:
    return textwrap.fill(
        text,
        80,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def describe_machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    image = os.environ.get(KERNEL_VARIABLE)
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "unicorn": _version("unicorn"),
        "emu": _version("arm64-boot-emu"),
        "kernel": Path(image).name if image else None,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


if __name__ == "__main__":
    sys.exit(main())

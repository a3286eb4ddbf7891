"""``python -m bench``: run the benchmarks, print a table, write JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.boots import cold_boot_612_8, rfc_4096
from bench.compare import HEADER as COMPARE_HEADER
from bench.compare import Compared, check_names, figures, note
from bench.exploring import explore_rate, explore_reduction, explore_whole
from bench.gdb import gdb_raw, gdb_stepi
from bench.lookups import lookup_256, lookup_shapes
from bench.process import KERNEL_VARIABLE
from bench.qemu import cold_boot_612_128
from bench.rates import instruction_grain, operation_grain, per_secondary_612
from bench.result import HEADER, Broken, Result, Skipped
from bench.tracing import trace_registers

# The long one comes last. Each takes (rounds, quick).
BENCHMARKS: tuple[Callable[[int, bool], Iterator[Result]], ...] = (
    cold_boot_612_8,
    per_secondary_612,
    operation_grain,
    instruction_grain,
    explore_rate,
    explore_reduction,
    explore_whole,
    rfc_4096,
    trace_registers,
    lookup_256,
    lookup_shapes,
    gdb_raw,
    gdb_stepi,
    cold_boot_612_128,
)
_ROUNDS, _ROUNDS_QUICK = 5, 3
_EPILOG = f"{KERNEL_VARIABLE} names the 6.12 Image (tools/fetch-kernels gets one). An unmet goal is status 0."


def main() -> int:
    """Run what was asked for; 1 when something that was measured failed."""
    parser = argparse.ArgumentParser("python -m bench", description="Measure emu.", epilog=_EPILOG)
    names = [function.__name__ for function in BENCHMARKS]
    parser.add_argument("--json", metavar="FILE", type=Path, help="write one JSON object (- for stdout)")
    parser.add_argument("--quick", action="store_true", help=f"{_ROUNDS_QUICK} samples, and one of QEMU")
    parser.add_argument("--rounds", metavar="N", type=int, help="samples, or pairs of processes of --compare")
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help=", ".join(names))
    parser.add_argument(
        "--compare",
        metavar="TREE",
        type=Path,
        help="CPU time of another checkout and of this one, in turn; status 1 when this one is worse",
    )
    options = parser.parse_args()
    to_stdout = options.json is not None and str(options.json) == "-"
    if options.compare is not None:
        wrong = check_names(options.only)
        if not wrong and not (options.compare / "emu" / "__init__.py").is_file():
            wrong = f"{options.compare}: no checkout of emu"
    else:
        unknown = [name for name in options.only if name not in names]
        wrong = f"{unknown[0]}: not one of {', '.join(names)}" if unknown else ""
    if options.rounds is not None and options.rounds < 1:
        wrong = f"--rounds {options.rounds}: at least 1"
    if wrong:
        parser.error(wrong)

    def say(line: str) -> None:
        print(line, file=sys.stderr if to_stdout else sys.stdout, flush=True)

    machine = describe_machine()
    say(", ".join(f"{name} {value}" for name, value in machine.items() if value))
    if options.compare is not None:
        return _compare(options, machine, say)
    rounds = options.rounds or (_ROUNDS_QUICK if options.quick else _ROUNDS)
    say(HEADER)
    results: list[dict[str, Any]] = []
    notes: list[str] = []
    broken = False
    for function in BENCHMARKS:
        name = function.__name__
        if options.only and name not in options.only:
            continue
        try:
            for result in function(rounds, options.quick):
                results.append(result.as_json())
                say(result.row())
                if result.note:
                    notes.append(f"{result.name}: {result.note}")
        except Skipped as reason:
            results.append({"name": name, "skipped": str(reason)})
            say(f"{name:<23} skipped: {reason}")
        except Broken as reason:
            broken = True
            results.append({"name": name, "error": str(reason)})
            say(f"{name:<23} FAILED: {reason}")
    for text in notes:
        say(_fill(text))
    _write(options, {"machine": machine, "quick": options.quick, "benchmarks": results})
    return int(broken)


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
    say(_fill(note()))
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


def _fill(text: str) -> str:
    return textwrap.fill(text, 80, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


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

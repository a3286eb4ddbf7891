"""``emu lookup``: does a lookup find the right CPU, within its contract, for every table and MPIDR."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import click

from emu.cli.asked import given, spelt
from emu.cli.lookup_coverage import say_coverage, usual_size, write_coverage
from emu.cli.lookup_proof import prove
from emu.cli.options import DEFAULT_SUBJECT, Reports, asked_to_stop, complete_subject, report_options
from emu.cli.outputs import Command, Output
from emu.cli.progress import progress
from emu.cli.status import INTERRUPTED
from emu.errors import InvalidCase, Untestable
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.coverage import Coverage
from emu.fuzz.pieces import Told
from emu.fuzz.proof import prove_quickly, sizes_to_prove
from emu.fuzz.race import ask_case
from emu.fuzz.search import LookupSearch
from emu.fuzz.spec import spec_of
from emu.fuzz.workers import Processes
from emu.lookup.case import LookupCase, parse_proved
from emu.report.lookup import as_json, case_of, describe, left_out
from emu.report.lookup_property import lookup_suite, question_suite
from emu.report.proof import proof_line
from emu.report.property import Suite, untestable_suite
from emu.report.words import WIDTH, wrap

_RATE_MAX = len(" (9,999,999 cases/s)")


@click.command("lookup", cls=Command)
@click.argument("subject", required=False, shell_complete=complete_subject)
@click.option("--contract", type=click.Path(path_type=Path), help="What it promises: a TOML file.")
@click.option("--nr-cpus", type=int, multiple=True, help="NR_CPUS to go through. [default: the contract's]")
@click.option("--max-cpus", type=int, help="Leave larger NR_CPUS out.")
@click.option("--cases", type=int, default=200_000, show_default=True, help="Random questions to ask.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random questions.")
@click.option("--matches", type=int, default=75, show_default=True, help="Percent of them in the map.")
@click.option("--system-map", type=click.Path(path_type=Path), help="Symbols of a kernel.")
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 256), help="Processes, for what takes long. [default: one a CPU]"
)
@click.option(
    "--prove",
    "proved_text",
    metavar="N|all",
    help="Prove it for every table of up to N CPUs; all: of up to NR_CPUS, by induction.",
)
@click.option(
    "--coverage",
    type=Output(),
    metavar="FILE",
    help="Write how often each instruction is executed: text, or a page (.html).",
)
@click.option("--case", "case_text", metavar="TEXT", help="Ask this one question again.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@report_options
def command(
    subject: str | None,
    contract: Path | None,
    nr_cpus: tuple[int, ...],
    max_cpus: int | None,
    cases: int,
    seed: int,
    matches: int,
    system_map: Path | None,
    jobs: int | None,
    proved_text: str | None,
    coverage: Path | None,
    case_text: str | None,
    as_object: bool,
    reports: Reports,
) -> int:
    """Test the lookup of SUBJECT: every small table, the regression corpus, then random ones.

    SUBJECT is a design with a look-up, a .S file, an object or a kernel. What it promises stands in its
    header, in a TOML beside it, or in --contract.  [default: v3]
    """
    if cases < 0 or not 0 <= matches <= 100:
        raise InvalidCase(f"cases={cases}, matches={matches}: no fewer than 0, and 0..100 percent")
    proved_cpus = None if proved_text is None else parse_proved(proved_text, "prove")
    if proved_cpus is not None and (
        clash := given("cases", "seed", "matches", "jobs", "coverage", "case_text")
    ):
        raise InvalidCase(f"{spelt(clash[0])} and --prove: a proof asks no questions; leave one of them out")
    if case_text is not None:
        case = _changed(LookupCase.parse(case_text), subject, contract, system_map, nr_cpus)
        return _replay(case, as_object, reports)
    if not cases and given("matches"):
        raise InvalidCase(f"--matches {matches} and --cases 0: it is of the random questions")
    name = subject or DEFAULT_SUBJECT
    under_test = UnderTest(name, contract, system_map)
    sizes = sorted(set(nr_cpus)) or under_test.sizes
    if proved_cpus is not None:
        sizes = sorted(set(nr_cpus)) or sizes_to_prove(under_test, proved_cpus)
    sizes = [size for size in sizes if max_cpus is None or size <= max_cpus]
    if not sizes:
        least = min(nr_cpus or under_test.sizes)
        raise InvalidCase(f"max-cpus={max_cpus}: NR_CPUS is {least} at least")
    if proved_cpus is not None:
        files = str(contract or ""), str(system_map or "")
        return prove(under_test, proved_cpus, sizes, files, as_object, reports)
    search = LookupSearch(under_test)
    start, interrupted = time.monotonic(), False

    def asked() -> str:
        return f"{search.phase} questions: {search.cases:,} asked; {cases:,} are random ones"

    jobs_max = jobs or os.cpu_count() or 1

    def hands(pieces: int) -> Processes[Told]:
        spec = spec_of(under_test, contract, system_map, matches, sizes)
        return Processes(spec, min(jobs_max, pieces))

    with asked_to_stop() as stop, progress(asked):
        for _ in search.run(sizes, cases, seed, matches, hands if jobs_max > 1 else None):
            if interrupted := stop():
                break
    if not interrupted:
        with asked_to_stop() as stop, progress(lambda: "proving what is quickly proved"):
            for _ in prove_quickly(search, sizes, is_usual=not nr_cpus):
                if interrupted := stop():
                    break
    seconds = time.monotonic() - start
    covered: list[Coverage] = []
    if coverage is not None and not interrupted:
        chosen = [size for size in sizes if size not in under_test.refused] if nr_cpus else []
        covered = write_coverage(under_test, chosen or [usual_size(under_test, sizes)], coverage)
    if not cases and given("seed") and not search.raced:
        click.echo("emu: --seed: nothing that was asked is random", err=True)
    if not search.cases and not interrupted:
        raise Untestable(f"{name}: no map fits the tables of its contract: nothing was asked")
    texts = [
        case_of(under_test, found, str(contract or ""), str(system_map or "")).text()
        for found in search.findings
    ]
    status = INTERRUPTED if interrupted else int(bool(texts))
    if interrupted:
        click.echo("emu: interrupted: what follows is of the questions that were asked", err=True)
    cut_off = interrupted and not texts  # nothing holds because nothing was found yet

    def suite() -> Suite:
        return (
            untestable_suite("lookup", name, "interrupted") if cut_off else lookup_suite(search, texts, sizes)
        )

    if reports.show(suite):
        return status
    if as_object:
        whole = as_json(search, texts, name)
        click.echo(json.dumps(whole | {"verdict": "untestable"} if cut_off else whole))
        return status
    for found, text in zip(search.findings, texts, strict=True):
        for line in describe(under_test, found, text):
            click.echo(line)
    less = [f"NR_CPUS={size} left out: {why}" for size, why in under_test.refused.items()]
    verdict = "fail" if texts else "interrupted" if interrupted else "pass"
    kept = [size for size in sizes if size not in under_test.refused]
    for text in (*less, *left_out(search), *proof_line(search.proofs, kept)):
        click.echo("\n".join(wrap(text, "  ")))
    say_coverage(covered)
    listed = ", ".join(map(str, kept))
    count = f"{len(texts)} finding{'' if len(texts) == 1 else 's'}"
    lines = wrap(f"{verdict}: {name}, {search.cases} cases at NR_CPUS {listed}, {count}", "  ")
    # Where the line breaks is the same at any rate.
    between = " " if len(lines[-1]) + _RATE_MAX <= WIDTH else "\n  "
    click.echo("\n".join(lines) + f"{between}({search.cases / seconds:,.0f} cases/s)")
    return status


def _changed(
    case: LookupCase,
    subject: str | None,
    contract: Path | None,
    system_map: Path | None,
    nr_cpus: tuple[int, ...],
) -> LookupCase:
    # The question of --case, on SUBJECT, and with what else was given beside it.
    if asked := given("max_cpus", "cases", "seed", "matches", "jobs", "coverage"):
        raise InvalidCase(f"{spelt(asked[0])} and --case: a case is one question; leave one of them out")
    if len(nr_cpus) > 1:
        raise InvalidCase(
            f"--nr-cpus {nr_cpus[0]}, {nr_cpus[1]} and --case: a case is one question, at one NR_CPUS"
        )
    if subject is not None:  # what described the other subject does not describe this one
        case = replace(case, subject=subject, contract="", system_map="")
    if contract is not None:
        case = replace(case, contract=str(contract))
    if system_map is not None:
        case = replace(case, system_map=str(system_map))
    return replace(case, nr_cpus=nr_cpus[0]) if nr_cpus else case


def _replay(case: LookupCase, as_object: bool, reports: Reports) -> int:
    contract = Path(case.contract) if case.contract else None
    under_test = UnderTest(case.subject, contract, Path(case.system_map) if case.system_map else None)
    if case.prove:
        return prove(
            under_test, case.prove, [case.nr_cpus], (case.contract, case.system_map), as_object, reports
        )
    checked = ask_case(under_test, case)
    search = LookupSearch(under_test, cases=1)
    if checked.wrong is not None:
        search.found["", ""] = checked
    if reports.show(lambda: question_suite(under_test, checked, case.text())):
        pass
    elif as_object:
        click.echo(json.dumps(as_json(search, [case.text()] * len(search.findings), case.subject)))
    elif checked.wrong is not None:
        for line in describe(under_test, checked, case.text()):
            click.echo(line)
    else:
        expected = "none" if checked.expected is None else f"CPU {checked.expected}"
        click.echo(f"pass: {expected}, as expected, after {checked.answer.instructions} instructions")
    return int(checked.wrong is not None)

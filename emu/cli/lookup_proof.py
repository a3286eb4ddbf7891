"""``emu lookup --prove``: a proof about a look-up, or judged counterexamples to it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from emu.cli.options import Reports, asked_to_stop
from emu.cli.progress import progress
from emu.cli.status import INTERRUPTED
from emu.errors import Untestable
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.proof import Proof, has_prover
from emu.report.lookup import case_of, describe
from emu.report.proof import counted, proof_case, proof_json, proof_lines, proof_suite, why_not
from emu.report.words import wrap


def prove(
    under_test: UnderTest,
    cpus: int,
    sizes: Sequence[int],
    files: tuple[str, str],
    as_object: bool,
    reports: Reports,
) -> int:
    """Prove the look-up, print what came of it, and return the status.

    :param sizes: values of NR_CPUS
    :param files: paths of the contract and of the System.map as they were given; nothing: none
    :raises Untestable: z3 is not there, or it can be neither proved nor refuted
    """
    if not has_prover():
        raise Untestable("--prove needs z3: pip install 'arm64-boot-emu[prove]'")
    proof = Proof(under_test, cpus)
    interrupted = False
    with asked_to_stop() as stop, progress(lambda: f"proving at NR_CPUS={proof.at} of {sizes[-1]}"):
        for _ in proof.run(sizes):
            if interrupted := stop():
                break
    texts = [case_of(under_test, found, *files).text() for found in proof.findings]
    proved = [proof_case(proof, each, *files).text() for each in proof.proved]
    if interrupted and not proof.why:
        proof.why = "interrupted"
    if reports.show(lambda: proof_suite(proof, texts)):
        return _status(proof, interrupted)
    if as_object:
        click.echo(json.dumps(proof_json(proof, under_test.name, texts, proved)))
        return _status(proof, interrupted)
    for found, text in zip(proof.findings, texts, strict=True):
        for line in describe(under_test, found, text):
            click.echo(line)
    for size, reason in under_test.refused.items():
        click.echo("\n".join(wrap(f"NR_CPUS={size} left out: {reason}", "  ")))
    for line in proof_lines(proof):
        click.echo(line)
    if proved:
        click.echo(f"  case: {proved[-1]}")
    if proof.findings:
        click.echo(
            f"fail: {under_test.name}, refuted at NR_CPUS={proof.at}, {len(texts)} finding"
            f"{'' if len(texts) == 1 else 's'}"
        )
    elif proof.why:
        if interrupted:
            click.echo("emu: interrupted", err=True)
        else:
            raise Untestable(f"{under_test.name}: cannot be proved at NR_CPUS={proof.at}: {why_not(proof)}")
    else:
        click.echo(f"pass: {under_test.name}, proved ({counted(proof)})")
    return _status(proof, interrupted)


def _status(proof: Proof, interrupted: bool) -> int:
    if interrupted:
        return INTERRUPTED
    return 1 if proof.findings else 125 if proof.why else 0

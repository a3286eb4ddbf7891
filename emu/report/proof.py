"""What a proof about a look-up came to: text for people, properties, and the object of ``--json``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from emu.fuzz.proof import Proof, Proved
from emu.lookup.case import EVERY, LookupCase, Question
from emu.lookup.single import PROPERTIES
from emu.report.disassembly import disassemble
from emu.report.lookup import describe, finding_json
from emu.report.property import Group, Property, Result, Suite
from emu.report.words import wrap

if TYPE_CHECKING:
    from emu.lookup.prove.paths import Loop

ASSUMED = (
    "the MMU is off, so an access that is not aligned faults",
    "nobody stores to the tables meanwhile",
    "tables are where they are in the subject, else at an address of emu's choice, "
    "and at one that is aligned no better than the contract grants",
    "no interrupt is taken, and no event is pending at entry",
    "SP is a multiple of 16, within 64 KiB, where the contract gives a stack",
    "instructions do what emu/lookup/prove/semantics says, which is tested against the engine",
)
_NOT_PROVED = ("concurrent",)


def proof_case(proof: Proof, proved: Proved, contract: str, system_map: str) -> LookupCase:
    """Return the case that proves this part again."""
    return LookupCase(
        proof.under_test.name,
        proved.nr_cpus,
        Question((), 0),
        contract,
        system_map,
        prove=EVERY if proof.by_induction else proved.cpus,
    )


def proof_lines(proof: Proof) -> Iterator[str]:
    """Yield the lines that say what is proved, and what that assumes; none where nothing is."""
    if not proof.proved:
        return
    sizes = [each.nr_cpus for each in proof.proved]
    cpus = max(each.cpus for each in proof.proved)
    bound = max(each.counts.longest for each in proof.proved)
    has_bound = proof.under_test.contract.instructions_max
    if proof.by_induction:
        how, tables = " by induction", "every table of up to NR_CPUS CPUs"
    else:
        how = ""
        tables = f"every table of up to {cpus} CPU{'' if cpus == 1 else 's'}{_first_places(proof.proved)}"
    yield from wrap(
        f"proved{how} at NR_CPUS {_listed(sizes)}: for every MPIDR_EL1, {tables} "
        "(distinct valid hwids, holes anywhere), whatever registers, flags and DAIF hold at entry: the "
        "answer, the exits, what must not change, memory read and written, "
        + (f"the bound ({bound} instructions at most)" if has_bound else "that it ends"),
        "  ",
    )
    for loop in proof.proved[-1].loops:
        yield from wrap(f"  {_loop_words(proof, loop, sizes[-1])}", "  ")
    yield from wrap(f"  assumed: {'; '.join(ASSUMED)}", "  ")


def _loop_words(proof: Proof, loop: Loop, nr_cpus: int) -> str:
    subject = proof.under_test.at(nr_cpus).target.subject
    rounds = f"at most {loop.rounds_max} round{'' if loop.rounds_max == 1 else 's'}"
    said = "; ".join((rounds, *loop.facts))
    return f"loop at {subject.symbols.describe(loop.va)}, at NR_CPUS={nr_cpus}: before each round: {said}"


def _first_places(proved: Sequence[Proved]) -> str:
    # Of a table that is longer: which CPUs they are.
    cpus = min((each.cpus for each in proved if each.cpus < each.nr_cpus), default=0)
    return f" of the first {cpus} places, the others empty" if cpus else ""


def _listed(sizes: Sequence[int]) -> str:
    if len(sizes) > 2 and sizes[-1] - sizes[0] == len(sizes) - 1:
        return f"{sizes[0]}..{sizes[-1]}"
    return ", ".join(map(str, sizes))


def proof_line(proofs: Sequence[Proof], sizes: Sequence[int]) -> list[str]:
    """Return in one line what is proved beside a search at ``sizes`` (NR_CPUS); none: nothing was tried."""
    whole = {each.nr_cpus for proof in proofs for each in proof.proved if each.cpus >= each.nr_cpus}
    if proofs and whole >= {*sizes}:
        how = [_how(proof) for proof in proofs if proof.proved]
        return [f"proved for every NR_CPUS gone through, whatever the table ({', '.join(how)})"]
    said: list[str] = []
    for proof in proofs:
        if proof.proved:
            row = [each.nr_cpus for each in proof.proved]
            cpus = max(each.cpus for each in proof.proved)
            most = "whatever the table" if proof.by_induction else f"for up to {cpus} CPUs"
            said.append(f"proved at NR_CPUS {_listed(row)} {most} ({_how(proof)})")
        if proof.findings:
            said.append(f"refuted at NR_CPUS={proof.at}")
        elif proof.why:
            said.append(f"not proved at NR_CPUS={proof.at}: {why_not(proof)}")
    return ["; ".join(said)] if said else []


def _how(proof: Proof) -> str:
    return "by induction: --prove all" if proof.by_induction else "--prove N"


def why_not(proof: Proof) -> str:
    """Return why it can be neither proved nor refuted, in words."""
    subject = proof.under_test.at(proof.at).target.subject
    if proof.unknown is None:
        return proof.why
    va, word = proof.unknown
    return f"{subject.symbols.describe(va)}: {disassemble(word, va)}: {proof.why}"


def counted(proof: Proof) -> str:
    """Return how much work it was, in words."""
    counts = [each.counts for each in proof.proved]
    paths, steps, queries = (
        sum(each) for each in zip(*((c.paths, c.steps, c.queries) for c in counts), strict=True)
    )
    return f"{paths} paths, {steps} instructions, {queries} questions to z3"


def proof_json(proof: Proof, name: str, cases: Sequence[str], proved_cases: Sequence[str]) -> dict[str, Any]:
    """Return the object that ``emu lookup --prove --json`` prints; ``cases`` belong to the findings."""
    return {
        "case": name,
        "verdict": "fail" if proof.findings else "untestable" if proof.why else "pass",
        "findings": [
            finding_json(proof.under_test, checked, case)
            for checked, case in zip(proof.findings, cases, strict=True)
        ],
        "proved": [
            {
                "nr_cpus": each.nr_cpus,
                "cpus": each.cpus,
                "paths": each.counts.paths,
                "instructions": each.counts.steps,
                "queries": each.counts.queries,
                "longest": each.counts.longest,
                "loops": [
                    {"pc": loop.va, "rounds_max": loop.rounds_max, "facts": list(loop.facts)}
                    for loop in each.loops
                ],
                "case": case,
            }
            for each, case in zip(proof.proved, proved_cases, strict=True)
        ],
        "assumed": list(ASSUMED),
        "why": why_not(proof),
    }


def proof_suite(proof: Proof, cases: Sequence[str]) -> Suite:
    """Return the properties of a look-up that was proved or refuted; ``cases`` belong to the findings."""
    members = []
    for name in PROPERTIES:
        wrong = [
            (checked, case)
            for checked, case in zip(proof.findings, cases, strict=True)
            if checked.wrong is not None and checked.wrong.prop == name
        ]
        if wrong:
            details = [line for checked, case in wrong for line in describe(proof.under_test, checked, case)]
            first = wrong[0][0].wrong
            assert first is not None
            members.append(Property(name, Result.FAIL, first.text, tuple(details)))
        elif name in _NOT_PROVED:
            members.append(Property(name, Result.SKIP, "a proof is about tables at rest"))
        elif proof.findings or proof.why:
            members.append(
                Property(name, Result.SKIP, why_not(proof) or "the proof ended at a counterexample")
            )
        elif name == "bound" and not proof.under_test.contract.instructions_max:
            members.append(Property(name, Result.SKIP, "the contract promises no bound"))
        else:
            members.append(Property(name))
    notes = tuple(proof_lines(proof))
    return Suite(Group(f"lookup {proof.under_test.name}", members), proof.under_test.name, notes)

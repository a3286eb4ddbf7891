"""``emu lookup --coverage``: the look-up's disassembly, with how often questions execute each instruction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import click

from emu.cli.outputs import write_text
from emu.cli.progress import progress
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.coverage import QUESTIONS_MAX, Coverage, cover, usual_questions
from emu.lookup.case import Question
from emu.report.coverage import coverage_page, coverage_text, summary

_USUAL_MAX = 256  # NR_CPUS at which it is looked at, when the contract says none that is smaller


def usual_size(under_test: UnderTest, sizes: Sequence[int]) -> int:
    """Return the NR_CPUS to look at: of ``sizes`` the largest up to 256, which the text assembles for."""
    fit = [size for size in sizes if size not in under_test.refused]
    return max((size for size in fit if size <= _USUAL_MAX), default=fit[0])


def write_coverage(
    under_test: UnderTest, sizes: Sequence[int], path: Path, questions: Iterable[Question] | None = None
) -> list[Coverage]:
    """Ask questions one by one at each of ``sizes`` (NR_CPUS), write what they execute, and return it.

    :param path: a page where its name ends in ``.html``, else text
    :param questions: what is asked; None: some of each kind that a search asks
    :raises InvalidCase: the file cannot be written
    """
    found = []
    with progress(lambda: "counting what is executed"):
        for size in sizes:
            built = under_test.at(size)
            asked = islice(usual_questions(built), QUESTIONS_MAX) if questions is None else questions
            found.append(cover(built, asked))
    subject = under_test.at(sizes[0]).target.subject
    if path.suffix == ".html":
        write_text(path, coverage_page(subject, found, under_test.name))
    else:
        write_text(path, coverage_text(subject, found))
    return found


def say_coverage(found: Sequence[Coverage]) -> None:
    """Print in a line for each NR_CPUS how much was executed."""
    for coverage in found:
        click.echo(summary(coverage))

"""Which instructions of a look-up were executed: the disassembly with counts, as text and as an HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from emu.fuzz.coverage import Coverage, CoveredLine
from emu.report.disassembly import disassemble
from emu.report.html_page import html_page
from emu.report.words import wrap
from emu.subject import Subject

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1b1f24; --never: #f8c9c4; --half: #fbe7b2; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171b; --ink: #e6e9ed; --never: #6b2a25; --half: #5c4a14; }
}
body { font-family: sans-serif; margin: 1.5em; background: var(--page); color: var(--ink); }
table { border-collapse: collapse; margin: 0 0 2em; }
td, th { padding: .1em .8em; text-align: right; white-space: pre; }
th { border-bottom: 1px solid #888; }
td:nth-child(n+5), th:nth-child(n+5) { text-align: left; font-family: monospace; }
.never { background: var(--never); } .half { background: var(--half); }
"""
_NEVER, _HALF = "never", "one way only"


def summary(coverage: Coverage) -> str:
    """Return in one line how much was executed."""
    gone, ways = coverage.ways
    return (
        f"coverage at NR_CPUS={coverage.nr_cpus}: {coverage.executed} of {len(coverage.lines)} instructions, "
        f"{gone} of {ways} ways of branches, by {coverage.questions:,} questions"
    )


def coverage_text(subject: Subject, coverages: Sequence[Coverage]) -> str:
    """Return the disassembly with counts as text, for each NR_CPUS."""
    lines: list[str] = []
    for coverage in coverages:
        lines += wrap(summary(coverage), "  ")
        lines.append(f"  {'':12} {'executed':>10} {'taken':>10} {'not taken':>10}")
        lines += [_text_line(subject, line) for line in coverage.lines]
    return "".join(f"{line}\n" for line in lines)


def coverage_page(subject: Subject, coverages: Sequence[Coverage], name: str) -> str:
    """Return the same as an HTML page without any link."""
    title = f"coverage of {name}"
    parts = [f"<h1>{escape(title)}</h1>"]
    for coverage in coverages:
        parts += [f"<p>{escape(summary(coverage))}</p>", "<table>", *_rows(subject, coverage), "</table>"]
    return html_page(title, _STYLE, "\n".join(parts))


def _mark(line: CoveredLine) -> str:
    return _NEVER if not line.times else _HALF if line.missed else ""


def _text_line(subject: Subject, line: CoveredLine) -> str:
    taken, straight = ("", "") if line.taken is None else (f"{each:,}" for each in line.taken)
    where, text = subject.symbols.describe(line.va), disassemble(line.word, line.va)
    return f"  {_mark(line):12} {line.times:>10,} {taken:>10} {straight:>10}  {where:<16} {text}".rstrip()


def _rows(subject: Subject, coverage: Coverage) -> Iterator[str]:
    heads = ("executed", "taken", "not taken", "", "place", "instruction")
    yield "<tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"
    for line in coverage.lines:
        mark = _mark(line)
        ways = ("", "") if line.taken is None else (f"{each:,}" for each in line.taken)
        texts = (subject.symbols.describe(line.va), disassemble(line.word, line.va))
        cells = (f"{line.times:,}", *ways, mark, *texts)
        style = {_NEVER: ' class="never"', _HALF: ' class="half"'}.get(mark, "")
        yield f"<tr{style}>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"

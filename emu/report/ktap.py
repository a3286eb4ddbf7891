"""Results as the kernel's own tests print them: KTAP version 1 (Documentation/dev-tools/ktap.rst)."""

from __future__ import annotations

from collections.abc import Iterator

from emu.report.property import Group, Property, Result, Suite, printable, version

_INDENT = "  "


def ktap(suite: Suite) -> str:
    """Return a test with a subtest for each property; diagnostic lines come before the result of theirs."""
    notes = [f"emu {version()}", f"case: {suite.case}", *suite.notes]
    lines = ["KTAP version 1", "1..1", *_test(1, suite.group, notes)]
    return "".join(f"{line}\n" for line in lines)


def _test(number: int, test: Group | Property, notes: list[str]) -> Iterator[str]:
    if isinstance(test, Group):
        # "# Subtest" is a diagnostic line to the specification; KUnit prints it and its parser likes it.
        yield f"{_INDENT}KTAP version 1"
        yield f"{_INDENT}# Subtest: {_name(test.name)}"
        yield f"{_INDENT}1..{len(test.members)}"
        for place, member in enumerate(test.members, 1):
            for line in _test(place, member, []):
                yield _INDENT + line
    elif test.result is Result.FAIL:
        notes = [*notes, *test.details]
    for note in notes:
        for line in printable(note).split("\n"):
            yield f"# {line}".rstrip()
    ok = "not ok" if test.result is Result.FAIL else "ok"
    skip = f" # SKIP {_name(test.message)}".rstrip() if test.result is Result.SKIP else ""
    yield f"{ok} {number} {_name(test.name)}{skip}"


def _name(text: str) -> str:
    # One line, and without the "#" that begins what follows a name.
    return printable(text).replace("\n", "\\n").replace("#", "\\x23").strip()

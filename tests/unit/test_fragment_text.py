"""Assembly text made flat."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.errors import AssemblyError
from emu.subject.assembly_expression import evaluate
from emu.subject.assembly_source import Statement, _statements, read
from emu.subject.assembly_text import flatten


def flat(folder: Path, text: str, **constants: int) -> list[str]:
    path = folder / "t.S"
    path.write_text(text)
    return flatten(read(path, "t.S", [], set()), constants).text.splitlines()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", 7),
        ("1 << 2 + 1", 5),  # GNU as: << binds like *
        ("1 + 2 | 4", 7),  # GNU as: | binds tighter than +
        ("6 & 3 + 1", 3),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("3 == 3", -1),
        ("3 == 4", 0),
        ("2 > 1 && 0", 0),
        ("!0 + !5", 1),
        ("~0xf & 0xff", 0xF0),
        ("-1 >> 60", 15),
        ("010 + 0x10 + 0b10", 26),
        ("((A))", 5),
        ("1 << 63", -(2**63)),
    ],
)
def test_expression_has_the_value_gnu_as_gives_it(expression: str, value: int) -> None:
    """GNU as manual, Infix Operators."""
    assert evaluate(expression, {"A": 5}) == value


@pytest.mark.parametrize(
    "expression", ["", "1 +", "(1", "1)", "1 2", "nope", "1 / 0", "1 << 64", "1 << -1", "@", "09", "."]
)
def test_malformed_expression_is_a_value_error(expression: str) -> None:
    """Never a wrong number."""
    with pytest.raises(ValueError, match="."):
        evaluate(expression, {})


@given(st.integers(-(2**63), 2**64 - 1), st.integers(-(2**63), 2**64 - 1))
def test_sum_wraps_at_64_bits(left: int, right: int) -> None:
    """A constant has 64 bits, as in a register."""
    assert (evaluate(f"({left}) + ({right})", {}) - left - right) % 2**64 == 0


@given(st.text(alphabet="ax1:;,.\"\\/*# \t\n()[]+-|<>=@&%~'0.macroifendrept", max_size=60))
def test_any_text_is_flattened_or_refused(text: str) -> None:
    """No input ends in a traceback."""
    lines = [Statement(statement, "t.S", number) for number, statement in _statements(text)]
    message = "t.S:"
    try:
        flatten(lines, {})
    except AssemblyError as error:
        message = str(error)
    assert message.startswith("t.S:")


def test_no_decimal_number_is_left(tmp_path: Path) -> None:
    """Keystone 0.9.2 may take the digits of a decimal number for hexadecimal ones."""
    assert flat(tmp_path, "mov x0, #16\nlsl x19, x20, 12\n.word 10, a + 100\na: b .L10\n.L10:\n") == [
        "mov x0, #0x10",
        "lsl x19, x20, 0xc",
        ".word 0xa, a + 0x64",
        "a:",
        "b .L10",
        ".L10:",
    ]


def test_string_is_left_alone(tmp_path: Path) -> None:
    """Neither comments, constants, numbers nor separators exist in a string."""
    text = '.ascii "16; // A \\" /* 1f"'
    assert flat(tmp_path, text + "\n", A=5) == [text]


def test_numeric_labels_bind_to_the_nearest(tmp_path: Path) -> None:
    """1b is the last 1: before, 1f the first behind."""
    assert flat(tmp_path, "1: b 1f\n1: b 1b\n") == [
        ".Lnumeric_1_1:",
        "b .Lnumeric_1_2",
        ".Lnumeric_1_2:",
        "b .Lnumeric_1_2",
    ]


def test_macro_takes_defaults_keywords_and_a_counter(tmp_path: Path) -> None:
    """GNU as manual, Macro."""
    text = ".macro m a, b=2\nmov \\a, #\\b\n.Lx\\@\\()_end:\n.endm\nm x0\nm b=3, a=x1\n"
    assert flat(tmp_path, text) == ["mov x0, #2", ".Lx1_end:", "mov x1, #3", ".Lx2_end:"]


def test_nested_blocks_and_conditions(tmp_path: Path) -> None:
    """Only taken branches are read, and a body may hold blocks of its own."""
    text = """
.macro outer n
.rept \\n
.if \\n > 1
nop
.elseif \\n == 1
wfe
.else
frob
.endif
.endr
.endm
.if 0
.macro outer
.error "not taken"
.endm
.endif
outer 1
outer 2
"""
    assert flat(tmp_path, text) == ["wfe", "nop", "nop"]


def test_comment_keeps_line_numbers(tmp_path: Path) -> None:
    """A comment over several lines, an escaped line end and a separator count right."""
    path = tmp_path / "t.S"
    path.write_text("/* a\nb */ nop\nmov x0, \\\n  x1\nnop; wfe // c\n# c\nsev\n")
    assert [(line.number, line.text) for line in read(path, "t.S", [], set())] == [
        (2, "nop"),
        (3, "mov x0,   x1"),
        (5, "nop"),
        (5, "wfe"),
        (7, "sev"),
    ]


@pytest.mark.parametrize("number", ["089", "9" * 5000])
@pytest.mark.parametrize("line", ["mov x0, #{}", ".quad {}", "ldr x0, [x1, #{}]", ".balign {}", ".equ a, {}"])
def test_a_number_that_is_none_is_an_error_of_its_line(line: str, number: str) -> None:
    """An octal number with a 9, and one of more digits than Python reads."""
    with pytest.raises(AssemblyError, match=rf"t\.S:2: .*{number[:40]} is not a number") as caught:
        flatten([Statement("nop", "t.S", 1), Statement(line.format(number), "t.S", 2)], {})
    assert "\n" not in str(caught.value)

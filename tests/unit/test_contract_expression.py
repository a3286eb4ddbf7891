"""Expressions of a contract: their arithmetic, their functions, and what is refused."""

from __future__ import annotations

import operator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.errors import InvalidContract
from emu.lookup.expression import LENGTH_MAX, evaluate, names_of

NAMES = {"NR_CPUS": 256, "x1": 7, "THREADS": 2}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("0x10", 16),
        (" 6*x1 + 8 ", 50),
        ("200 + 40 * NR_CPUS", 10440),
        ("7 // 2 + 7 % 4", 6),
        ("-7 // 2", -4),
        ("1 << 4 | 3", 19),
        ("(0xff & NR_CPUS - 1) >> 4", 15),
        ("max(NR_CPUS, 4 * x1)", 256),
        ("min(NR_CPUS, 4 * x1)", 28),
        ("log2(1)", 0),
        ("log2(5)", 3),
        ("20 + 12 * log2(NR_CPUS)", 116),
        ("+3 - -3", 6),
    ],
)
def test_value_is_that_of_integers(text: str, value: int) -> None:
    assert evaluate(text, NAMES) == value


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "nothing"),
        ("  ", "nothing"),
        ("1 +", "integers"),
        ("2 ** 3", "integers"),
        ("7 / 2", "integers"),
        ("1.5", "integers"),
        ("1e3", "integers"),
        ("'a'", "integers"),
        ("True and 1", "integers"),
        ("NR_CPUS.real", "integers"),
        ("(lambda)", "integers"),
        ("1, 2", "integers"),
        ("0b1", "integers"),
        ("1 if 2 else 3", "integers"),
        ("__import__(1)", "integers"),
        ("None", "integers"),
        ("N", "not defined; there is NR_CPUS, x1, THREADS"),
        ("max(1)", "takes 2 values"),
        ("log2(1, 2)", "takes 1 value"),
        ("log2(0)", "1 and more"),
        ("1 // 0", "divides by zero"),
        ("1 % (x1 - 7)", "divides by zero"),
        ("1 << 64", "shifts by 64"),
        ("1 >> -1", "shifts by -1"),
        ("0xffffffffffffffff + 1", "64 bits"),
        ("0xffffffff * 0xffffffff * 4", "64 bits"),
        ("1" * (LENGTH_MAX + 1), "characters"),
        ("(" * 99 + "1" + ")" * 98, "integers"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_rule(text: str, rule: str) -> None:
    with pytest.raises(InvalidContract, match=rule) as caught:
        evaluate(text, NAMES)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


def test_names_are_those_of_values_and_not_of_functions() -> None:
    assert names_of("max(NR_CPUS, log2(x1)) + 4") == {"NR_CPUS", "x1"}


@given(st.text(alphabet="NR_CPUSxlog2ma0123456789+-*/%<>&|(), .'", max_size=LENGTH_MAX + 5))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    with suppress(InvalidContract):
        assert -(2**64) < evaluate(text, NAMES) < 2**64


@given(st.text(max_size=40))
def test_any_characters_raise_nothing_else(text: str) -> None:
    with suppress(InvalidContract):
        evaluate(text, {})


_LEAVES = st.integers(0, 1000).map(lambda value: (str(value), value))
_FUNCTIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "&": operator.and_, "|": operator.or_}


@given(
    st.recursive(
        _LEAVES,
        lambda inner: st.tuples(inner, st.sampled_from(sorted(_FUNCTIONS)), inner).map(
            lambda parts: (
                f"({parts[0][0]} {parts[1]} {parts[2][0]})",
                _FUNCTIONS[parts[1]](parts[0][1], parts[2][1]),
            )
        ),
        max_leaves=5,
    )
)
def test_nested_expressions_have_pythons_value(pair: tuple[str, int]) -> None:
    assert evaluate(pair[0], {}) == pair[1]

"""Cases: one line of text that gives the same case back."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.case import Case
from emu.errors import InvalidCase

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any value of the right type in any field."""
    values: dict[str, object] = {"subject": draw(TEXT.filter(bool))}
    for field in fields(Case)[1:]:
        if draw(st.booleans()):
            values[field.name] = draw(st.integers() if isinstance(field.default, int) else TEXT)
    return Case(**values)  # type: ignore[arg-type]


@given(cases())
def test_text_gives_the_case_back(case: Case) -> None:
    """Quotes, spaces, equals signs, any script; on one line."""
    assert Case.parse(case.text()) == case
    assert len(case.text().splitlines()) <= 1


@given(cases())
def test_text_is_the_same_for_the_same_case(case: Case) -> None:
    """It names files and is compared: parsing and writing again changes nothing."""
    assert Case.parse(case.text()).text() == case.text()


def test_text_is_short() -> None:
    """Only what differs from the defaults."""
    assert Case("v3").text() == "v3"
    assert Case("v3", topology="flat:64", el=2).text() == "v3 topology=flat:64 el=2"
    assert Case("my kernel/Image", scheduler="random:7").text() == "'my kernel/Image' scheduler=random:7"


@given(st.text(max_size=40))
def test_any_text_is_a_case_or_refused(text: str) -> None:
    """Never a traceback."""
    try:
        case = Case.parse(text)
    except InvalidCase:
        return
    assert Case.parse(case.text()) == case


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with a subject"),
        ("   ", "begins with a subject"),
        ("'v3", "No closing quotation"),
        ("v3 el", "el: not one of"),
        ("v3 colour=red", "colour=red: not one of"),
        ("v3 el=one", "el is an integer"),
        ("v3 el=", "el is an integer"),
        ("v3 el=1.5", "el is an integer"),
        ("v3 subject=v2", "subject=v2: not one of"),
        ("v3 boot_cpu=1", "boot_cpu=1: not one of"),
        ("v3 topology=a\0b", r"topology='a\\x00b': a NUL in it"),
        ("\udcff.S", r"subject='\\udcff.S': not UTF-8"),
    ],
)
def test_what_is_refused_and_why(text: str, message: str) -> None:
    """The word and the rule."""
    with pytest.raises(InvalidCase, match=message):
        Case.parse(text)


def test_integers_in_any_base() -> None:
    """As in the sources that they come from."""
    assert Case.parse("v3 nr-cpus=0x100 boot-cpu=0b11").nr_cpus == 256

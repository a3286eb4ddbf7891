"""What herd's litmus format allows, and how a text that breaks it is refused."""

from __future__ import annotations

import pytest

from emu.errors import InvalidSubject, Untestable
from emu.litmus.condition import Register, Variable, holds, text_of
from emu.litmus.layout import place
from emu.litmus.parser import parse_test
from emu.litmus.test import Address, Declared, LitmusTest, Type

SB = """AArch64 SB
Hash=0123
{{{init}}}
 P0          | P1          ;
 MOV W0,#1   | MOV W0,#1   ;
 STR W0,[X1] | STR W0,[X1] ;
{tail}
"""


def parsed(init: str = "0:X1=x; 1:X1=y;", tail: str = "exists (x=1)") -> LitmusTest:
    """The test with these parts."""
    return parse_test(SB.format(init=init, tail=tail), "t.litmus")


def test_the_head_has_a_name_and_information() -> None:
    test = parsed()
    assert (test.name, test.info["Hash"], len(test.threads)) == ("SB", "0123", 2)
    assert [line.text for line in test.threads[0]] == ["MOV W0,#1", "STR W0,[X1]"]
    assert test.threads[1][1].number == 6


@pytest.mark.parametrize(
    ("init", "name", "expected"),
    [
        ("x=5;", "x", Declared(Type(), 0, (5,))),
        ("int x;", "x", Declared(Type())),
        ("uint8_t b=0x10;", "b", Declared(Type(1, is_signed=False), 0, (16,))),
        ("int64_t n=-2;", "n", Declared(Type(8), 0, (-2,))),
        ("int *p=x;", "p", Declared(Type(8, is_pointer=True), 0, (Address("x"),))),
        ("[p]=&x;", "p", Declared(Type(8, is_pointer=True), 0, (Address("x"),))),
        ("int t[3];", "t", Declared(Type(), 3)),
        ("int t[2]={1,2};", "t", Declared(Type(), 2, (1, 2))),
        ("int t={1,2,3}", "t", Declared(Type(), 3, (1, 2, 3))),
    ],
)
def test_a_variable_is_declared(init: str, name: str, expected: Declared) -> None:
    assert parsed(init).variables[name] == expected


def test_registers_may_have_a_type_and_blanks() -> None:
    test = parsed("uint64_t 0:X5; 0: X1 = x; int64_t 1:X1=-1; 1:W3=7")
    assert test.types == {Register(0, 5): Type(8, is_signed=False), Register(1, 1): Type(8)}
    assert test.registers == {Register(0, 1): Address("x"), Register(1, 1): -1, Register(1, 3): 7}


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ("exists x=1 /\\ y=2 \\/ 0:X0=1", "exists ([x]=1 /\\ [y]=2 \\/ 0:X0=1)"),
        ("exists (x=1 /\\ (y=2 \\/ 0:X0=1))", "exists ([x]=1 /\\ ([y]=2 \\/ 0:X0=1))"),
        ("~exists not x=1", "~exists (not ([x]=1))"),
        ("forall (x=1 => y=1 => x=2)", "forall ([x]=1 => [y]=1 => [x]=2)"),
        ("forall ((x=1 => y=1) => x=2)", "forall (([x]=1 => [y]=1) => [x]=2)"),
        ("forall true", "forall (true)"),
        ("", "forall (true)"),
        ("locations [x; 0:X0;] exists *x=-1;", "exists ([x]=-1)"),
    ],
)
def test_a_condition_is_printed_as_herd_does(tail: str, expected: str) -> None:
    assert str(parsed(tail=tail).condition) == expected


def test_a_proposition_is_evaluated_as_it_is_printed() -> None:
    values = {Variable("x"): 1, Variable("y"): 2, Register(0, 0): 0}
    for text, expected in [
        ("x=1 /\\ y=1 \\/ 0:X0=0", True),
        ("x=1 /\\ (y=1 \\/ 0:X0=1)", False),
        ("x=2 => y=1", True),
        ("not x=1 \\/ false", False),
        ("true", True),
    ]:
        proposition = parsed(tail=f"exists {text}").condition.proposition
        assert holds(proposition, lambda at, value: values[at] == value) is expected, text_of(proposition)


def test_shown_locations_are_in_order_and_once() -> None:
    test = parsed(tail="locations [y; 1:X10; x; 1:X2; 0:X3;] exists (y=1 /\\ 1:X2=0)")
    assert [str(at) for at in test.shown] == ["0:X3", "1:X2", "1:X10", "[x]", "[y]"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PPC SB\n{}\n", "t.litmus:1: 'PPC SB': a test begins with AArch64"),
        ("AArch64 T\nP0 ;\n", "no {...}"),
        ("AArch64 T\n{ x=; }\nP0 ;\n", "t.litmus:2: a value is expected, and ';' is there"),
        ("AArch64 T\n{ 0:Q1=x; }\nP0 ;\n", "register Q1 is not modelled"),
        ("AArch64 T\n{ 3:X1=x; }\nP0 ;\nNOP ;\n", "3:X1: there are threads P0 to P0"),
        ("AArch64 T\n{ 0:X1=P0:L9; }\nP0 ;\nNOP ;\n", "P0:L9: no such label"),
        ("AArch64 T\n{}\nP1 ;\n", "column 1 is called P0"),
        ("AArch64 T\n{}\nP0 | P1 ;\nNOP | NOP | NOP ;\n", "t.litmus:4: 3 columns for 2 threads"),
        ("AArch64 T\n{}\nP0:EL0 ;\nNOP ;\n", ":EL0 is not modelled"),
        ("AArch64 T\n{}\nP0 ;\nNOP ;\nexists (x=1\n", "')' is expected, and the text ends"),
        ("AArch64 T\n{}\nP0 ;\nNOP ;\nexists x=1 y=2\n", "t.litmus:5: the end is expected, and 'y' is there"),
        ("AArch64 T\n{}\nP0 ;\nNOP ;\nexists fault(P0,x)\n", "fault() is not modelled"),
        ("AArch64 T\n{}\nP0 ;\nNOP ;\nfilter x=1 exists x=1\n", "filter is not modelled"),
        ("AArch64 T\n{ int t[2]; }\nP0 ;\nNOP ;\nexists t[2]=1\n", "t[2]: the array has 2 elements"),
        ("AArch64 T\n{ int t[1]={1,2}; }\nP0 ;\nNOP ;\n", "an array of 1 elements is expected"),
        ("AArch64 T\n{}\n(* P0 ;\n", "a comment that does not end"),
        ("AArch64 T\n{ [PTE(x)]=1; }\nP0 ;\nNOP ;\n", "PTE"),
    ],
)
def test_a_wrong_text_is_refused_with_file_and_line(text: str, message: str) -> None:
    with pytest.raises((InvalidSubject, Untestable)) as caught:
        parse_test(text, "t.litmus")
    assert message in str(caught.value)
    assert str(caught.value).startswith("t.litmus")


def test_an_instruction_that_nobody_knows_is_named_with_its_line() -> None:
    test = parse_test("AArch64 T\n{}\nP0 ;\nNOP ;\nFROB X1 ;\n", "t.litmus")
    good = parsed()
    bad, layout = place([test, good])
    assert str(bad).startswith("t.litmus:5: ")
    assert not isinstance(layout, Exception)

"""The language of properties: what its texts mean, and how a wrong one is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from emu.errors import InvalidCase
from emu.properties.evaluate import holds
from emu.properties.language import parse_outcomes, parse_property
from emu.properties.resolve import resolve
from emu.properties.sources import texts_of_option, texts_of_toml
from emu.subject.annotations import find_annotations

VA = 0xFFFF_0000_0000_0000


class Named:
    """A subject with three symbols, and three CPUs."""

    hwids: Sequence[int] = (0x0, 0x100, 0x101)

    def address(self, symbol: str) -> int | None:
        """At VA + 0x1000, 0x2000 and 0x3000."""
        return {"word": VA + 0x1000, "table": VA + 0x2000, "spot": VA + 0x3000}.get(symbol)

    def pa_of(self, va: int) -> int | None:
        """Without the upper bits; there is memory to 0x4000."""
        pa = va & ~VA
        return pa if pa < 0x4000 else None


class State:
    """Memory, registers and PCs."""

    def word(self, pa: int, size: int) -> int:
        """The PA, so that a test sees which."""
        return pa & (1 << 8 * size) - 1

    def register(self, cpu: int, number: int) -> int:
        """Its number, and the CPU's above 32 bits."""
        return (cpu + 1) << 32 | number

    def pc(self, cpu: int) -> int:
        """CPU1 is at spot's VA, CPU2 at its PA, CPU0 elsewhere."""
        return (0x1000, VA + 0x3000, 0x3000)[cpu]


def value(text: str, here: int = -1) -> bool:
    """The value of a condition in the state."""
    condition = resolve(parse_property(f"{'finally' if here < 0 else 'at spot:'} {text}"), Named()).condition
    assert condition is not None
    return holds(condition, State(), here)


@pytest.mark.parametrize(
    "text",
    [
        "[word] == 0x1000",
        "[word+8] == 0x1008",
        "[table + 2*8]:1 == 0x10",
        "[word]:2 == 0x1000 && [0x2000] == 0x2000",
        f"word == {VA + 0x1000:#x}",
        "cpu1:x7 == 0x200000007",
        "1:x7 == cpu1:x7",
        "cpu2:w30 == 30",
        "boot:sp == 0x10000001f",
        "hwid(0x101):x0 == 0x300000000",
        "cpu1@spot && cpu2@spot && !cpu0@spot && @spot",
        "secondary*@spot && !cpu*@spot && cpu?@spot",
        "cpu*:w3 == 3 && cpu?:x3 == 0x200000003",
        "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9",
        "1 << 4 | 1 == 17 && (6 & 3 ^ 1) == 3",
        "-1 == 0xffffffffffffffff && ~0 == -1 && 0 - 1 > 5",
        "1 || 0 && 0",
        "3 != 4 && 3 <= 3 && 3 >= 3 && !(3 < 3)",
    ],
)
def test_a_condition_is_true(text: str) -> None:
    assert value(text)
    assert not value(f"!({text})")


def test_a_register_alone_is_that_of_the_cpu_at_the_label() -> None:
    assert value("x3 == 0x200000003", here=1)
    assert value("w3 == 3 && sp != 0", here=2)


def test_what_a_property_sees_is_known() -> None:
    resolved = resolve(parse_property("never cpu1@spot && [word]:4 == 1 && cpu*:x1 == 2"), Named())
    assert resolved.words == ((0x1000, 4),)
    assert resolved.labels == {VA + 0x3000, 0x3000}
    assert resolved.registers == {0, 1, 2}
    place = resolve(parse_property("at secondary?@spot: x1 == 0"), Named())
    assert (place.cpus, place.places) == ((1, 2), {VA + 0x3000, 0x3000})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("always [word] == 1", "unreachable"),
        ("finally", "a value is expected, and it ends"),
        ("finally [word", "']' is expected"),
        ("finally [word] = 1", "'= 1' is not understood"),
        ("finally [word]:3 == 1", "3 bytes: 1, 2, 4 or 8"),
        ("finally x3 == 1", "x3: of which CPU?"),
        ("finally cpu1:x31 == 1", "x31: there is X0 to X30"),
        ("finally cpu1:lr == 1", "a register, x0 to x30"),
        ("at spot x1 == 1", "':' is expected, and 'x1' is there"),
        ("unreachable", "a label is expected"),
        ("unreachable spot spot", "the end is expected, and 'spot' is there"),
        ("never secondary@spot", "'*' for each of them or '?' for one is expected"),
        ("never cpu*:x1 == secondary?:x1", "one group of CPUs at most"),
        ("never 0x12345678901234567 == 1", "more than 64 bits"),
        ("never cpu3@spot", "cpu3: there are CPU0 to CPU2"),
        ("never hwid(7)@spot", "hwid(0x7): no CPU has it"),
        ("never [nothing] == 1", "nothing: no such symbol"),
        ("never [cpu1:x1] == 1", "an address is made of symbols and numbers"),
        ("never [0x9000] == 1", "no memory is there"),
        ("unreachable spot+2", "no address of an instruction"),
        ("never " + "(" * 400 + "1" + ")" * 400, "parentheses"),
    ],
)
def test_a_wrong_text_is_refused_with_its_place_and_rule(text: str, reason: str) -> None:
    with pytest.raises(InvalidCase) as caught:
        resolve(parse_property(text, "a.S:7"), Named(), "a.S:7")
    assert reason in str(caught.value)
    assert str(caught.value).startswith("a.S:7: ")


def test_outcomes_are_expressions_between_commas() -> None:
    assert [each.text for each in parse_outcomes("[word], cpu1:x0 , @spot")] == ["[word]", "cpu1:x0", "@spot"]
    with pytest.raises(InvalidCase, match="outcomes: '': a value is expected"):
        parse_outcomes("[word],")


def test_texts_come_from_leading_comments_with_their_lines() -> None:
    head = "/* x\n * assert: finally [word] == 1\n\n   assert: never 1 */\n\n"
    head += "// assert: never @spot\n# assert: never 2\n"
    code = "  nop // assert: no\n/* assert: prose, behind a statement */\n"
    assert find_annotations(head + code, "a.S", ("assert",)) == [
        ("a.S:2", "assert", "finally [word] == 1"),
        ("a.S:4", "assert", "never 1"),
        ("a.S:6", "assert", "never @spot"),
        ("a.S:7", "assert", "never 2"),
    ]
    assert find_annotations('#include "x"\n// assert: never 1\n', "a.S", ("assert",)) == []
    assert find_annotations("/* x */ nop\n// assert: never 1\n", "a.S", ("assert",)) == []


def test_texts_come_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('finally = "[word] == 1"\nat = ["spot: x1 == 2", "spot: x2 == 3"]\n')
    texts = [text for _, text in texts_of_option([str(path), "never @spot; unreachable spot"])]
    assert texts == [
        "finally [word] == 1",
        "at spot: x1 == 2",
        "at spot: x2 == 3",
        "never @spot",
        "unreachable spot",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nevr = 'x'", "nevr: no nevr"),
        ("never = 5", "never: a text or a list"),
        ("never = [5]", "never: a text or a list"),
        ("never", "no TOML"),
    ],
)
def test_a_wrong_toml_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(InvalidCase, match=str(path)) as caught:
        texts_of_toml(path)
    assert reason.split(":")[0] in str(caught.value)


def test_a_toml_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidCase, match=r"none\.toml: No such file"):
        texts_of_option(["none.toml"])

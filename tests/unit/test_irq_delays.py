"""How late interrupts are."""

from __future__ import annotations

import pytest

from emu.errors import InvalidCase
from emu.machine.irq_delays import NS_MAX, IrqDelays, parse_irq_delays


def test_delays_are_those_of_the_seed_and_within_their_bound() -> None:
    delays = parse_irq_delays("0x7:300")
    drawn = [delays.draw() for _ in range(500)]
    again = parse_irq_delays("7:300")
    assert drawn == [again.draw() for _ in range(500)]
    assert 0 <= min(drawn) < 10
    assert 290 < max(drawn) <= 300
    assert drawn != [IrqDelays(8, 300, number).draw() for number in range(500)]
    assert IrqDelays(7, 300, drawn=499).draw() == drawn[499]  # a copy goes on where it was made


def test_nothing_is_late_by_itself() -> None:
    assert [parse_irq_delays("").draw() for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("text", ["1", "1:", ":5", "1:0", f"1:{NS_MAX + 1}", "x:5", "1:y", "1:-2"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidCase, match=f"irq-late={text}: SEED:NS"):
        parse_irq_delays(text)

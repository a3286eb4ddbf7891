"""Local states that do the same from here on are one, unless a rule looks at what tells them apart."""

from __future__ import annotations

import pytest
from exploring import Program, X, Y, explorer_of, task
from naive_compare import missed_findings

from emu.case import Case
from emu.explore.alike import _Alike
from emu.explore.explorer import Explorer, explore_case
from emu.explore.search import Bounds, Count
from emu.operation import AtomicUpdate, Load, Store, StoreExclusive

OTHER = task(Store(X, 1))
MAINLINE = Case.parse("mainline topology=flat:3 bringup=parallel force=1")


def exchange(*, uses: bool):
    """Store by an exchange, and to another word what was there, or always the same."""
    old = yield AtomicUpdate(X, None, 5, 4)
    yield Store(Y, old + 1 if uses else 1)


def searched(explorer: Explorer) -> Count:
    result = explorer.search(Bounds(), everything=True)
    assert result.complete
    return result.count


@pytest.mark.parametrize(("uses", "ends"), [(False, 1), (True, 2)])
def test_the_value_of_an_exchange_that_is_thrown_away_tells_nothing(uses: bool, ends: int) -> None:
    """Two exchanges, and a load of what they store to Y."""
    programs: list[Program] = [lambda: exchange(uses=uses), lambda: exchange(uses=uses), task(Load(Y))]
    assert searched(explorer_of(programs)).complete == ends


@pytest.mark.parametrize(("then", "ends"), [("mov x1, #7", 1), ("nop", 2)])
def test_a_register_that_is_written_before_it_is_read_tells_nothing(then: str, ends: int) -> None:
    reader = f"ldr x1, [x0]\n {then}\n str x1, [x0, #256]\n b ."
    assert searched(explorer_of([reader, OTHER])).complete == ends


def test_what_a_trace_has_besides_loads_tells_local_states_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store-exclusive that fails has stored nothing, although nobody asks whether it did."""
    writer = "ldxr x1, [x0]\n stxr w2, x1, [x0]\n str x0, [x0, #256]\n mov w2, #0\n str x0, [x0, #264]\n b ."
    explorer = explorer_of([writer, task(Store(X, 2))])
    searched(explorer)
    assert not _unites_results(explorer)
    monkeypatch.setattr(_Alike, "_without_loads", lambda *_: ())
    searched(explorer)
    assert _unites_results(explorer)


def _unites_results(explorer: Explorer) -> bool:
    for local in explorer.stepper.locals:
        if isinstance(local.action.operation, StoreExclusive):
            passed, failed = local.edges[True], local.edges[False]
            assert passed.reached is not failed.reached
            if passed.local is failed.local:
                return True
    return False


def test_the_loaded_value_that_a_rule_compares_tells_local_states_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_Alike, "_is_no_matter", lambda *_: True)
    assert "lost-update" in missed_findings(583, caches=False, schedules=10)


def test_a_racy_boot_has_the_same_findings_with_fewer_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """The C side exchanges sync states and throws away what was there, as Linux does."""
    few, _ = explore_case(MAINLINE)
    one = few.search(Bounds(), everything=True)
    monkeypatch.setattr(_Alike, "look_at", lambda *_: None)
    many, _ = explore_case(MAINLINE)
    other = many.search(Bounds(), everything=True)
    assert {found.finding.key for found in one.findings} == {found.finding.key for found in other.findings}
    assert 2 * one.count.states < other.count.states

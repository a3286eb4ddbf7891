"""PEs explored are PEs on the machine: exclusives, events, pairs and maintenance, drawn.

Left out so far: firmware calls. They are explored against the machine by the cases of test_exploration.
"""

from __future__ import annotations

from exploring import Program, X, Y, explore, explorer_of, task
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_exploration import same_on_machine

from emu.operation import AtomicUpdate, Load, Operation, SendEvent, Store, WaitForEvent

Drawn = str | tuple[Operation, ...]
# x0 is X at the start of a PE; X + 8 and X + 32 are of its granule, X + 64 and Y are of others.
PLACES = ("[x0]", "[x0, #8]", "[x0, #32]", "[x0, #64]", "[x0, #256]")
WORDS = (X, X + 8, X + 32, X + 64, Y)
_SETTINGS = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
place, value = st.sampled_from(PLACES), st.integers(1, 3)
exclusive_load, exclusive_store = st.sampled_from(["ldxr", "ldaxr"]), st.sampled_from(["stxr", "stlxr"])


def lines(text: str, *drawn: st.SearchStrategy[object]) -> st.SearchStrategy[str]:
    """A piece of a program, with what is drawn in its braces."""
    return st.builds(text.format, *drawn)


def base(text: str, *drawn: st.SearchStrategy[object]) -> st.SearchStrategy[str]:
    """The same for an instruction whose address is a register alone."""
    offset = st.sampled_from([0, 8, 32, 64, 256])
    return st.builds(("add x9, x0, #{}\n" + text).format, offset, *drawn)


ACCESSES = st.one_of(
    lines("ldr x1, {}", place),
    lines("mov x1, #{}\nstr x1, {}", value, place),
    lines("mov w1, #{}\nstrb w1, {}", value, place),
    base("ldar x1, [x9]"),
    base("mov x1, #{}\nstlr x1, [x9]", value),
    base("ldp x1, x2, [x9]"),
    base("mov x1, #{}\nmov x2, #{}\nstp x1, x2, [x9]", value, value),
)
EXCLUSIVES = st.one_of(
    base("{} x1, [x9]", exclusive_load),
    base("{} w1, [x9]", exclusive_load),
    # A store-exclusive comes with its load-exclusive. Left out: the CPU's own plain store between the two,
    # and sizes that differ: the engine compares the loaded value too and fails, the explorer lets it pass.
    # One that stores elsewhere in the granule than it has loaded, or in another granule.
    lines(
        "add x9, x0, #{}\nadd x10, x0, #{}\n{} x1, [x9]\nmov x1, #{}\n{} w2, x1, [x10]",
        st.sampled_from([0, 8, 64]),
        st.sampled_from([0, 8, 64]),
        exclusive_load,
        value,
        exclusive_store,
    ),
    st.just("l{label}: ldxr x1, [x0]\nadd x1, x1, #1\nstxr w2, x1, [x0]\ncbnz w2, l{label}"),
    st.just("clrex"),
)
EVENTS = st.one_of(
    st.sampled_from(["wfe", "sev", "sevl"]),
    st.just("sevl\nl{label}: wfe\nldxr x1, [x0]\ncbz x1, l{label}"),
)
MAINTENANCE = st.one_of(
    base("dc {}, x9", st.sampled_from(["ivac", "cvac", "civac"])),
    st.just("dsb sy"),
)
HOST = st.one_of(
    st.builds(Store, st.sampled_from(WORDS), value, st.just(8), st.just(True), st.just(False)),
    st.builds(Load, st.sampled_from(WORDS), st.just(8), st.just(True), st.just(False)),
    st.builds(AtomicUpdate, st.sampled_from(WORDS), st.integers(0, 2), value, st.just(8)),
    st.sampled_from([SendEvent(), WaitForEvent()]),
)
CACHED_HOST = st.one_of(
    st.builds(Store, st.sampled_from(WORDS), value, st.just(8), st.booleans(), st.just(False)),
    st.builds(Load, st.sampled_from(WORDS), st.just(8), st.booleans(), st.just(False)),
)


def assembled(pieces: list[str]) -> str:
    """One program of these pieces, each label with a number of its own; it ends in a branch to itself."""
    numbered = [piece.replace("{label}", str(number)) for number, piece in enumerate(pieces)]
    return "\n".join([*numbered, "b ."])


def pes(pieces: st.SearchStrategy[str], size: int) -> st.SearchStrategy[str]:
    """A program of a PE."""
    return st.builds(assembled, st.lists(pieces, min_size=1, max_size=size))


def actors(
    pieces: st.SearchStrategy[str], host: st.SearchStrategy[Operation], size: int, most: int = 3
) -> st.SearchStrategy[list[Drawn]]:
    """Two or three actors; the first is a PE."""
    tasks = st.lists(host, min_size=1, max_size=size).map(tuple)
    other = pes(pieces, size) | tasks
    return st.lists(other, min_size=1, max_size=most - 1).flatmap(
        lambda rest: pes(pieces, size).map(lambda first: [first, *rest])
    )


def programs_of(found: list[Drawn]) -> list[Program]:
    """What the explorer and the machine are given."""
    return [each if isinstance(each, str) else task(*each) for each in found]


CHOICES = st.lists(st.integers(0, 1000), min_size=1, max_size=30)
PIECES = ACCESSES | EXCLUSIVES | EVENTS


@_SETTINGS
@given(actors(PIECES, HOST, 4), CHOICES)
def test_pes_do_on_the_machine_what_they_do_explored(found: list[Drawn], choices: list[int]) -> None:
    """The same records in the same order, and the same ends."""
    same_on_machine(programs_of(found), choices)


@_SETTINGS
@given(actors(ACCESSES | MAINTENANCE, CACHED_HOST, 4), CHOICES)
def test_pes_meet_the_same_lines_on_the_machine_as_explored(found: list[Drawn], choices: list[int]) -> None:
    same_on_machine(programs_of(found), choices, cached=True)


@_SETTINGS
@given(actors(PIECES, HOST, 2, most=2))
def test_reduction_loses_no_outcome_of_pes(found: list[Drawn]) -> None:
    explorer = explorer_of(programs_of(found))
    _, reduced = explore(explorer, *WORDS)
    _, every = explore(explorer, *WORDS, reduce=False)
    assert set(reduced.seen) == set(every.seen)


def test_a_store_exclusive_elsewhere_in_the_granule_does_the_same_on_both() -> None:
    """It stored in an exploration, which gave its PE the status of one that had failed."""
    programs: list[Program] = ["ldxr x1, [x0]\nadd x9, x0, #8\nstxr w2, x0, [x9]\nldr x3, [x9]\nb .", "b ."]
    same_on_machine(programs, [0])


def test_a_store_exclusive_found_to_pass_while_its_monitor_was_not_followed_yet_stores() -> None:
    """A walk that still learned lent it what another CPU had stored: it failed for ever after."""
    store = "mov x1, #1\nstr x1, [x0]\nb ."
    for after in range(4):  # one of them has the store in between at the first walk
        retry = "nop\n" * after + "ldxr x1, [x0]\nmov x1, #1\nstxr w2, x1, [x0]\nb ."
        same_on_machine([store, retry], [1])


def test_a_stale_second_half_of_a_pair_is_told_right_before_it_on_both() -> None:
    store = task(Store(X + 8, 1, 8, True, False))
    same_on_machine(["ldp x1, x2, [x0]\nb .", "dsb sy\nb .", store], [2, 2, 0], cached=True)

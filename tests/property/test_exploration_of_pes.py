"""PEs explored are PEs on the machine: exclusives, events, pairs, maintenance and firmware calls, drawn."""

from __future__ import annotations

from dataclasses import replace

import pytest
from exploring import Code, Program, X, code_of, explore, explorer_of, task
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_exploration import DC_CIVAC, DC_CVAC, DC_IVAC, same_on_machine

from emu.cpu.cores import CORES
from emu.operation import (
    DSB_SY,
    AtomicUpdate,
    Barrier,
    CacheOp,
    FirmwareCall,
    Load,
    Operation,
    SendEvent,
    Store,
    WaitForEvent,
)

MAX = CORES["max"].midr  # it has LSE
Drawn = Code | tuple[Operation, ...]
# x20 is X; X + 8 and X + 32 are of its granule, X + 64 and Y are of others.
OFFSETS = (0, 8, 32, 64, 256)
WORDS = tuple(X + offset for offset in OFFSETS)
_SETTINGS = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
value, conduits = st.integers(1, 3), st.sampled_from(["smc", "hvc"])
exclusive_load, exclusive_store = st.sampled_from(["ldxr", "ldaxr"]), st.sampled_from(["stxr", "stlxr"])
pair_load, pair_store = st.sampled_from(["ldxp", "ldaxp"]), st.sampled_from(["stxp", "stlxp"])
width = st.sampled_from([("b", "w"), ("h", "w"), ("", "w"), ("", "x")])  # of the mnemonic, of the register


def lines(text: str, *drawn: st.SearchStrategy[object]) -> st.SearchStrategy[str]:
    """A piece of a program, with what is drawn in its braces."""
    return st.builds(text.format, *drawn)


def at(
    text: str, *drawn: st.SearchStrategy[object], offsets: tuple[int, ...] = OFFSETS
) -> st.SearchStrategy[str]:
    """The same, with one of the followed words in x9."""
    return st.builds(
        lambda offset, *found: f"add x9, x20, #{offset}\n{text.format(*found)}",
        st.sampled_from(offsets),
        *drawn,
    )


ACCESSES = st.one_of(
    at("ldr x1, [x9]"),
    at("mov x1, #{}\nstr x1, [x9]", value),
    at("mov w1, #{}\nstrb w1, [x9, #1]", value),
    at("ldar{0[0]} {0[1]}1, [x9]", width),
    at("mov x1, #{0}\nstlr{1[0]} {1[1]}1, [x9]", value, width),
    at("ldp {0}1, {0}2, [x9]", st.sampled_from("wx")),
    at("ldp {0}1, {0}2, [x9], #16\nldpsw x3, x4, [x20]", st.sampled_from("wx")),
    at("mov x1, #{0}\nmov x2, #{1}\nstp {2}1, {2}2, [x9]", value, value, st.sampled_from("wx")),
    at("ldr q1, [x20]\nstr q1, [x9]", offsets=(0, 32, 64, 256)),
    at("ldp q1, q2, [x9]", offsets=(0, 64, 256)),
)
UNALIGNED = st.one_of(  # with the MMU on only
    at("ldr w1, [x9, #{}]", st.sampled_from([1, 6, 7])),
    at("mov w1, #0x201\nstrh w1, [x9, #{}]", st.sampled_from([1, 7])),
)
STRUCTURES = st.one_of(
    at("ld1 {{v1.2s}}, [x9]"),
    at("st1 {{v1.d}}[1], [x9]"),
    at("ld2 {{v1.2d, v2.2d}}, [x9]"),
)
PAIRS = (0, 32, 64, 256)  # of an exclusive pair, which must be aligned to its size
EXCLUSIVES = st.one_of(
    at("{0}{1[0]} {1[1]}1, [x9]", exclusive_load, width),
    at("{0} {1}1, {1}2, [x9]", pair_load, st.sampled_from("wx"), offsets=PAIRS),
    # A store-exclusive of any size, where its load-exclusive has loaded, elsewhere in the granule, or in
    # another one; with the CPU's own store between the two, or without.
    lines(
        "add x9, x20, #{0}\nadd x10, x20, #{1}\n{2}{5[0]} {5[1]}1, [x9]\n{7}mov x1, #{3}\n"
        "{4}{6[0]} w2, {6[1]}1, [x10]",
        st.sampled_from([0, 8, 64]),
        st.sampled_from([0, 8, 64]),
        exclusive_load,
        value,
        exclusive_store,
        width,
        width,
        st.sampled_from(["", "", "str x3, [x9]\n"]),
    ),
    lines(
        "add x9, x20, #{0}\nadd x10, x20, #{1}\n{2} {5}1, {5}3, [x9]\nmov x1, #{3}\n"
        "{4} w2, {5}1, {5}3, [x10]",
        st.sampled_from([0, 32, 64]),
        st.sampled_from([0, 32, 64]),
        pair_load,
        value,
        pair_store,
        st.sampled_from("wx"),
    ),
    lines(
        "l{{label}}: {} x1, [x20]\nadd x1, x1, #1\n{} w2, x1, [x20]\ncbnz w2, l{{label}}",
        exclusive_load,
        exclusive_store,
    ),
    st.just("clrex"),
)
EVENTS = st.one_of(
    st.sampled_from(["wfe", "sev", "sevl"]),
    lines("sevl\nl{{label}}: wfe\n{} x1, [x20]\ncbz x1, l{{label}}", exclusive_load),
)
MAINTENANCE = st.one_of(
    at("dc {}, x9", st.sampled_from(["ivac", "cvac", "civac", "cvau"])),
    st.sampled_from(["dsb sy", "dmb ish", "isb"]),
)
_CALL = "movz x0, #{}\nmovk x0, #{}, lsl #16\n"
AFFINITY_INFO = lines(
    _CALL.format(4, 0xC400) + "mov x1, #{}\nmov x2, #{}\n{{call}}",
    st.integers(0, 3),
    st.sampled_from([0, 0, 1]),
)
CPU_OFF = st.just(_CALL.format(2, 0x8400) + "{call}")
CPU_ON = lines(
    _CALL.format(3, 0xC400) + "mov x1, #{0}\nmovz x2, #{1}\nmovk x2, #{2}, lsl #16\nmov x3, x20\n{{call}}",
    st.integers(0, 3),
    st.sampled_from([code_of(cpu) & 0xFFFF for cpu in range(3)]),
    st.just(code_of(0) >> 16),
)
CALLS = AFFINITY_INFO | CPU_OFF | CPU_ON


def host(
    cacheable: st.SearchStrategy[bool], *more: st.SearchStrategy[Operation]
) -> st.SearchStrategy[Operation]:
    """Operations of a host task."""
    word = st.sampled_from(WORDS)
    return st.one_of(
        st.builds(Store, word, value, st.just(8), cacheable, st.just(False)),
        st.builds(Load, word, st.just(8), cacheable, st.just(False)),
        st.builds(AtomicUpdate, word, st.none() | st.integers(0, 2), value, st.just(8)),
        st.sampled_from([SendEvent(), WaitForEvent(), Barrier(DSB_SY)]),
        *more,
    )


HOST = host(st.just(True))
CACHED_HOST = host(
    st.booleans(), st.builds(CacheOp, st.sampled_from([DC_IVAC, DC_CVAC, DC_CIVAC]), st.sampled_from(WORDS))
)
HOST_CALLS = st.one_of(
    st.builds(
        lambda cpu, entry: FirmwareCall(0xC400_0003, cpu, code_of(entry), X),
        st.integers(0, 3),
        st.integers(0, 2),
    ),
    st.builds(lambda cpu: FirmwareCall(0xC400_0004, cpu), st.integers(0, 3)),
)
LSE = st.one_of(  # Keystone has none of them
    at("mov x1, #{}\n.long {:#x}", value, st.just(0xF821_0123)),
    at("mov x1, #{}\n.long {:#x}", value, st.just(0xF821_013F)),
    at("mov x1, #{}\n.long {:#x}", value, st.just(0xF8E1_8123)),
    at("mov x1, #0\nmov x3, #{}\n.long {:#x}", value, st.just(0xC8A1_7D23)),
)


def assembled(pieces: list[str]) -> str:
    """One program of these pieces, each label with a number of its own; it ends in a branch to itself."""
    numbered = [piece.replace("{label}", str(number)) for number, piece in enumerate(pieces)]
    return "\n".join(["mov x20, x0", *numbered, "b ."])


def pes(
    pieces: st.SearchStrategy[str], size: int, mapped: bool = False, off: bool = False
) -> st.SearchStrategy[Code]:
    """A program of a PE; its MMU may be on when ``mapped``, and it may be off when ``off``."""
    texts = st.builds(assembled, st.lists(pieces, min_size=1, max_size=size))
    on = st.builds(Code, texts, st.booleans() if mapped else st.just(False))
    return on | st.builds(Code, texts, is_on=st.just(False)) if off else on


def actors(
    pieces: st.SearchStrategy[str],
    host: st.SearchStrategy[Operation],
    size: int,
    most: int = 3,
    *,
    mapped: bool = False,
    off: bool = False,
) -> st.SearchStrategy[list[Drawn]]:
    """Two or three actors; the first is a PE that is on."""
    tasks = st.lists(host, min_size=1, max_size=size).map(tuple)
    other = pes(pieces, size, mapped, off) | tasks
    return st.builds(
        lambda first, rest: [first, *rest],
        pes(pieces, size, mapped),
        st.lists(other, min_size=1, max_size=most - 1),
    )


def programs_of(found: list[Drawn], conduit: str = "") -> list[Program]:
    """What the explorer and the machine are given."""
    return [
        replace(each, text=each.text.replace("{call}", f"{conduit} #0"))
        if isinstance(each, Code)
        else task(*each)
        for each in found
    ]


CHOICES = st.lists(st.integers(0, 1000), min_size=1, max_size=30)
PIECES = ACCESSES | STRUCTURES | EXCLUSIVES | EVENTS | LSE


@_SETTINGS
@given(actors(PIECES, HOST, 4), CHOICES)
def test_pes_do_on_the_machine_what_they_do_explored(found: list[Drawn], choices: list[int]) -> None:
    """The same records in the same order, and the same ends."""
    same_on_machine(programs_of(found), choices, midr=MAX)


@_SETTINGS
@given(actors(PIECES | UNALIGNED | MAINTENANCE, CACHED_HOST, 4, mapped=True), CHOICES)
def test_pes_meet_the_same_lines_on_the_machine_as_explored(found: list[Drawn], choices: list[int]) -> None:
    """Some with their MMU on: their exclusives work under the caches, those of the others do not."""
    same_on_machine(programs_of(found), choices, midr=MAX, cached=True)


@_SETTINGS
@given(actors(PIECES | CALLS, HOST | HOST_CALLS, 4, off=True), CHOICES, conduits, conduits)
def test_pes_call_firmware_on_the_machine_as_explored(
    found: list[Drawn], choices: list[int], conduit: str, called: str
) -> None:
    """CPUs come, go and come again; a call of another conduit than firmware's is an exception."""
    same_on_machine(programs_of(found, called), choices, midr=MAX, conduit=conduit)


@_SETTINGS
@given(
    actors(PIECES | MAINTENANCE | CALLS, CACHED_HOST | HOST_CALLS, 4, mapped=True, off=True),
    CHOICES,
    conduits,
)
def test_pes_call_firmware_under_caches_as_explored(
    found: list[Drawn], choices: list[int], conduit: str
) -> None:
    same_on_machine(programs_of(found, conduit), choices, midr=MAX, cached=True, conduit=conduit)


@_SETTINGS
@given(actors(PIECES, HOST, 2, most=2))
def test_reduction_loses_no_outcome_of_pes(found: list[Drawn]) -> None:
    explorer = explorer_of(programs_of(found), midr=MAX)
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


def test_a_stale_load_exclusive_is_told_right_before_it_on_both() -> None:
    """That caches have no part in it came between the two in an exploration."""
    store = task(Store(X, 1, 8, True, False))
    same_on_machine(["ldxr x1, [x0]\nb .", store], [1, 1, 0], cached=True)


@pytest.mark.parametrize("choices", [[1, 1, 0], [376]])
def test_a_store_exclusive_passes_when_its_line_was_written_back_in_between(choices: list[int]) -> None:
    """The load-exclusive went past the caches. On the machine the values were compared too, and it failed."""
    store = task(Store(X, 1, 8, True, False))
    same_on_machine(["ldxrb w1, [x0]\nstxrb w2, w1, [x0]\nldr x3, [x0]\nb .", store], choices, cached=True)


def test_a_store_of_the_own_between_the_two_exclusives_does_the_same_on_both() -> None:
    same_on_machine(["ldxr x1, [x0]\nstr x0, [x0]\nstxr w2, x0, [x0]\nb .", "b ."], [0])


def test_an_atomic_that_caches_have_no_part_in_is_told_on_both() -> None:
    """An exploration told of load-exclusives alone."""
    ldadd = "mov x1, #1\n.long 0xf8210003\nb ."  # ldadd x1, x3, [x0]
    same_on_machine([ldadd, task(Store(X, 1))], [0], cached=True, midr=MAX)


def test_an_atomic_stores_what_it_makes_of_what_it_has_loaded_on_both() -> None:
    """An exploration stored what the first visit of its place had made."""
    twice = "mov x1, #1\n.long 0xf8210003\nldr x2, [x0]\nb ."  # ldadd x1, x3, [x0]
    for choices in ([0], [1], [0, 1]):
        same_on_machine([twice, twice], choices, midr=MAX)
        same_on_machine([twice, task(AtomicUpdate(X, None, 5))], choices, midr=MAX)
    _, ends = explore(explorer_of([twice, twice], midr=MAX), X)
    assert {words for words, _ in ends.seen} == {(2,)}

"""Properties of a user, in every command: each kind with a run that breaks it and the twin that keeps it."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from exploring import X, Y, explorer_of, task
from litmus_programs import Operation
from planting import meeting
from programs import run_emu

from emu.case import Case
from emu.explore.explorer import explore_case
from emu.explore.search import Bounds
from emu.explore.watch import Watch
from emu.operation import Load, Store
from emu.properties.evaluate import apply
from emu.properties.expression import At, Binary, Cpus, Memory, Number, Property, Symbol
from emu.properties.resolve import Resolved

PUBLISH = "        str x10, [x1]\n        str x10, [x2]"
PUBLISH_LATE = "        str x10, [x2]\n        str x10, [x1]"
READ = "        ldr x11, [x2]\n        ldr x12, [x1]\nread:"
READ_ALL = "        ldr x11, [x2]\n        cbz x11, met\n        ldr x12, [x1]\n        cbz x12, hang\nread:"
ENTER = """        str x10, [x1]
        ldr x12, [x2]
        cbnz x12, met
inside1: nop
        str xzr, [x1]"""
ENTER_2 = """        str x10, [x2]
        ldr x12, [x1]
        cbnz x12, met
inside2: nop
        str xzr, [x2]"""
LATE = """        ldr x12, [x1]
        cbnz x12, met
        str x10, [x2]
inside2: nop
        str xzr, [x2]"""
ADD = "        ldr x11, [x1]\n        add x11, x11, #1\n        str x11, [x1]"
ADD_ALONE = """1:      ldxr x11, [x1]
        add x11, x11, #1
        stxr w12, x11, [x1]
        cbnz w12, 1b"""
# property, code of CPU1 and CPU2 that breaks it in some order, and that keeps it
KINDS = {
    "finally": ("finally [wx] == 2", (ADD, ADD), (ADD_ALONE, ADD_ALONE)),
    "at": ("at read: x11 <= x12", (PUBLISH_LATE, READ), (PUBLISH, READ)),
    "at of one": ("at hwid(2)@read: !(w11 == 1 && w12 == 0)", (PUBLISH_LATE, READ), (PUBLISH, READ)),
    "never labels": ("never cpu1@inside1 && cpu2@inside2", (ENTER, LATE), (ENTER, ENTER_2)),
    "never words": ("never [wx] == 0 && [wy] == 1", (PUBLISH_LATE, READ), (PUBLISH, READ)),
    "never registers": (
        "never cpu2:x11 == 1 && cpu2:x12 == 0 && cpu2@read",
        (PUBLISH_LATE, READ),
        (PUBLISH, READ),
    ),
    "unreachable": ("unreachable hang", (PUBLISH_LATE, READ_ALL), (PUBLISH, READ_ALL)),
    "eventually": ("eventually [wx] == 1 && [wy] == 1", ("        nop", READ), (PUBLISH, READ)),
}


def explore(path: str, *options: str, expected: int) -> dict[str, object]:
    """Explore with three CPUs; the result as JSON."""
    done = run_emu("explore", path, "--cpus", "3", "--all", "--json", *options)
    assert done.returncode == expected, done.stdout + done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_property_that_some_order_breaks_is_found_and_its_twin_passes(kind: str, tmp_path: Path) -> None:
    text, broken, kept = KINDS[kind]
    path = meeting(tmp_path, *broken)
    found = explore(path, "--assert", text, expected=1)
    findings = found["findings"]
    assert isinstance(findings, list)
    told = [finding for finding in findings if finding["rule"] == "property"]
    assert [finding["what"] for finding in told] == [text.split()[0]]
    assert text in told[0]["message"]
    # The machine shows it too.
    replayed = run_emu("replay", told[0]["case"])
    assert replayed.returncode == 1
    assert "finding (property)" in replayed.stdout
    on_machine = run_emu("boot", "--case", told[0]["case"], "--json")
    rules = [finding["rule"] for finding in json.loads(on_machine.stdout)["findings"]]
    assert "property" in rules
    assert explore(meeting(tmp_path, *kept), "--assert", text, expected=0)["complete"] is True


def test_what_came_true_on_the_way_has_come_true(tmp_path: Path) -> None:
    """At the end the word is 2: it was 1 before, on every schedule; 3 it never was."""
    path = meeting(tmp_path, ADD_ALONE, ADD_ALONE)
    explore(path, "--assert", "eventually [wx] == 1", expected=0)
    explore(path, "--assert", "eventually [wx] == 3", expected=1)


def test_a_property_is_not_met_where_all_go_round(tmp_path: Path) -> None:
    """CPU2 waits for a word that nobody sets: the state it waits in comes again and again."""
    wait = "1:      ldr x11, [x2]\n        cbz x11, 1b"
    path = meeting(tmp_path, "        nop", wait)
    found = explore(path, "--assert", "eventually cpu2@met", expected=1)
    findings = found["findings"]
    assert isinstance(findings, list)
    assert {"stuck", "property"} <= {finding["rule"] for finding in findings}
    explore(meeting(tmp_path, PUBLISH, wait), "--assert", "eventually cpu2@met", expected=0)


# -- where the texts stand ------------------------------------------------------------------------


def test_a_header_a_toml_and_an_option_say_the_same(tmp_path: Path) -> None:
    text = "unreachable hang"
    toml = tmp_path / "p.toml"
    toml.write_text('unreachable = "hang"\n')
    plain = meeting(tmp_path, PUBLISH_LATE, READ_ALL)
    by_option = explore(plain, "--assert", text, expected=1)
    by_toml = explore(plain, "--assert", str(toml), expected=1)
    headed = meeting(tmp_path, PUBLISH_LATE, READ_ALL, header=f"/* meeting\n * assert: {text}\n */")
    by_header = explore(headed, expected=1)
    messages = []
    for found in (by_option, by_toml, by_header):
        findings = found["findings"]
        assert isinstance(findings, list)
        messages.append([each["message"] for each in findings if each["rule"] == "property"])
    assert len(messages[0]) == 1
    assert messages[0] == messages[1]
    assert len(messages[2]) == 1
    # A case of a TOML needs the file no more.
    assert f"asserts='{text}'" in str(by_toml["case"])


def test_a_wrong_property_is_refused_with_file_and_line(tmp_path: Path) -> None:
    path = meeting(tmp_path, PUBLISH, READ, header="// meeting\n// assert: never [nowhere] == 1")
    for command in ("explore", "boot"):
        done = run_emu(command, path, "--cpus", "3")
        assert done.returncode == 2
        assert f"{path}:2: 'never [nowhere] == 1': nowhere: no such symbol" in done.stderr


# -- boot and step --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("finally [wx] == 1", 0),
        ("finally [wx] == 2", 1),
        ("at read: x10 == 1", 0),
        ("at read: x10 == 2", 1),
        ("never [wy] == 1 && [wx] == 0", 0),
        ("never [wy] == 1", 1),
        ("unreachable hang", 0),
        ("unreachable met", 1),
        ("eventually cpu1@begin1", 0),
        ("eventually cpu1@begin2", 1),
    ],
)
def test_boot_and_step_hold_a_run_to_it(text: str, status: int, tmp_path: Path) -> None:
    path = meeting(tmp_path, PUBLISH, READ)
    for grain in ("free", "operation", "instruction"):
        done = run_emu("boot", path, "--cpus", "3", "--grain", grain, "--assert", text)
        assert done.returncode == status, done.stdout
        assert ("finding (property)" in done.stdout) is bool(status)


def test_a_label_in_a_loop_does_not_hide_that_the_loop_has_no_end(tmp_path: Path) -> None:
    wait = "again:  ldr x11, [x2]\n        cbz x11, again"
    path = meeting(tmp_path, "        nop", wait)
    done = run_emu("boot", path, "--cpus", "3", "--assert", "at again: x10 == 1")
    assert "spins for ever" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize("grain", ["free", "operation", "instruction"])
def test_where_the_host_goes_on_is_a_place_too(grain: str) -> None:
    def boot(text: str, *options: str) -> str:
        return run_emu("boot", "v3", "--cpus", "3", "--grain", grain, "--assert", text, *options).stdout

    arrives = "eventually secondary*@secondary_start_kernel"
    assert "pass: 3 of 3 CPUs online, 0 findings" in boot(arrives)
    assert "does not come true" in boot(arrives, "--fault", "2:no-match")
    assert boot("unreachable secondary_start_kernel").count("finding (property): CPU") == 2


def test_an_exploration_knows_where_the_host_goes_on() -> None:
    explore("v3", "--assert", "eventually secondary*@secondary_start_kernel", expected=0)
    found = explore("v3", "--assert", "unreachable 2@secondary_start_kernel", expected=1)
    findings = found["findings"]
    assert isinstance(findings, list)
    assert [finding["cpus"] for finding in findings] == [[2]]


def test_kexec_is_refused(tmp_path: Path) -> None:
    path = meeting(tmp_path, PUBLISH, READ)
    done = run_emu("boot", path, "--cpus", "3", "--kexec", "v3@1", "--assert", "unreachable hang")
    assert done.returncode == 2
    assert "properties are of one boot" in done.stderr


# -- outcomes -------------------------------------------------------------------------------------


def test_outcomes_are_told_with_a_schedule_each(tmp_path: Path) -> None:
    path = meeting(tmp_path, ADD, ADD)
    done = run_emu("explore", path, "--cpus", "3", "--outcomes", "[wx], cpu1:x11", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    values = [tuple(each["values"].values()) for each in found["outcomes"]]
    assert values == [(1, 1), (2, 1), (2, 2)]
    for each in found["outcomes"]:
        (wx, _) = each["values"].values()
        run = run_emu("boot", "--case", each["case"], "--assert", f"finally [wx] == {wx}")
        assert run.returncode == 0, run.stdout
    text = run_emu("explore", path, "--cpus", "3", "--outcomes", "[wx]").stdout.splitlines()
    assert text[0] == "[wx] = 0x1"
    assert "2 outcomes, complete" in text


# -- against a naive enumeration --------------------------------------------------------------------

_WORDS = {"x": X, "y": Y}
_NAMES = {"LDR": "R", "STR": "W"}


def _text(thread: Sequence[Operation]) -> str:
    # x0 is X; Y is 0x100 behind. A label is the address of an operation: 2 instructions each.
    lines = []
    for name, variable, value in thread:
        at = "[x0]" if variable == "x" else "[x0, #0x100]"
        lines += [f"mov x10, #{value}", f"ldr x1, {at}" if name == "R" else f"str x10, {at}"]
    return "\n".join([*lines, "b ."])


def _reached(threads: Sequence[Sequence[Operation]]) -> set[tuple[tuple[int, ...], int, int]]:
    # Every state: the operations that each thread has done, and the two words.
    start = ((0,) * len(threads), 0, 0)
    seen, work = {start}, [start]
    while work:
        places, x, y = work.pop()
        for number, thread in enumerate(threads):
            if places[number] == len(thread):
                continue
            name, variable, value = thread[places[number]]
            after = (*places[:number], places[number] + 1, *places[number + 1 :])
            new = (x, y) if name == "R" else (value, y) if variable == "x" else (x, value)
            state = (after, *new)
            if state not in seen:
                seen.add(state)
                work.append(state)
    return seen


def _is(pa: int, value: int) -> Binary:
    return Binary("==", Memory(Number(pa), 8), Number(value))


@pytest.mark.parametrize("seed", range(25))
def test_never_is_broken_when_a_naive_enumeration_reaches_such_a_state(seed: int) -> None:
    """Two or three PEs, two words: every pair of values, and every pair of a place and a value."""
    draw = random.Random(seed)
    threads = [
        [(draw.choice("RW"), draw.choice("xy"), draw.randint(1, 2)) for _ in range(draw.randint(1, 3))]
        for _ in range(draw.choice((2, 2, 3)))
    ]
    reached = _reached(threads)
    properties, expected = [], {}
    code = 0x4001_0000
    for value in range(3):
        for other in range(3):
            condition = Binary("&&", _is(X, value), _is(Y, other))
            text = f"never x {value} y {other}"
            words = ((X, 8), (Y, 8))
            properties.append(Resolved(Property("never", condition, None, text), condition, words=words))
            expected[text] = any((x, y) == (value, other) for _, x, y in reached)
        for done in range(1, len(threads[0])):
            pc = code + 8 * done + 4  # at the access that comes next: its MOV is done
            condition = Binary("&&", At(Cpus("cpu", 0), Symbol(""), pc), _is(X, value))
            text = f"never place {done} x {value}"
            labels = frozenset({pc})
            properties.append(
                Resolved(Property("never", condition, None, text), condition, words=((X, 8),), labels=labels)
            )
            expected[text] = any(places[0] == done and x == value for places, x, _ in reached)
    explorer = explorer_of([_text(thread) for thread in threads])
    explorer.stepper.watch = Watch(explorer.stepper.machine, properties)
    result = explorer.search(Bounds(), everything=True)
    assert result.complete, result.incomplete
    found = {str(each.finding["text"]) for each in result.findings if each.finding.rule == "property"}
    assert found == {text for text, is_reached in expected.items() if is_reached}


def test_a_word_that_a_property_names_is_seen_whatever_else_nobody_reads(tmp_path: Path) -> None:
    """The planted bug: a watch that does not tell the reduction what it sees misses the state."""
    path = meeting(tmp_path, PUBLISH_LATE, "        str x10, [x1]\n        str x10, [x2]")
    case = Case.parse(f"{path} topology=flat:3 asserts='never [wx] == 0 && [wy] == 1'")
    explorer, _ = explore_case(case)
    assert [found.finding.rule for found in explorer.search(Bounds()).findings] == ["property"]
    blind, _ = explore_case(case)
    assert blind.stepper.watch is not None
    blind.stepper.watch.sees = lambda local: False  # type: ignore[method-assign]
    told = [found.finding.rule for found in blind.search(Bounds(), everything=True).findings]
    assert "property" not in told


@pytest.mark.parametrize("seed", range(12))
def test_eventually_is_broken_when_a_naive_enumeration_has_a_schedule_without_it(seed: int) -> None:
    draw = random.Random(1000 + seed)
    threads = [
        [(draw.choice("RWW"), draw.choice("xy"), draw.randint(1, 2)) for _ in range(draw.randint(1, 3))]
        for _ in range(2)
    ]
    pairs = [(value, other) for value in range(3) for other in range(3)]
    properties, expected = [], set()
    for value, other in pairs:
        condition = Binary("&&", _is(X, value), _is(Y, other))
        text = f"eventually x {value} y {other}"
        words = ((X, 8), (Y, 8))
        properties.append(Resolved(Property("eventually", condition, None, text), condition, words=words))
        if _can_be_missed(threads, (value, other)):
            expected.add(text)
    explorer = explorer_of([_text(thread) for thread in threads])
    explorer.stepper.watch = Watch(explorer.stepper.machine, properties)
    result = explorer.search(Bounds(), everything=True)
    assert result.complete, result.incomplete
    found = {str(each.finding["text"]) for each in result.findings if each.finding.rule == "property"}
    assert found == expected


def _can_be_missed(threads: Sequence[Sequence[Operation]], pair: tuple[int, int]) -> bool:
    # Whether a schedule comes to its end without ever having this pair of values.
    work = [((0,) * len(threads), (0, 0))]
    while work:
        places, words = work.pop()
        if words == pair:
            continue
        if all(at == len(thread) for at, thread in zip(places, threads, strict=True)):
            return True
        for number, thread in enumerate(threads):
            if places[number] == len(thread):
                continue
            name, variable, value = thread[places[number]]
            x, y = words
            new = words if name == "R" else (value, y) if variable == "x" else (x, value)
            work.append(((*places[:number], places[number] + 1, *places[number + 1 :]), new))
    return False


def test_a_story_says_where_the_cpus_of_a_property_stand(tmp_path: Path) -> None:
    path = meeting(tmp_path, ENTER, LATE)
    text = "never cpu1@inside1 && cpu2@inside2"
    told = run_emu("explore", path, "--cpus", "3", "--assert", text).stdout
    assert [line.split()[1:3] for line in told.splitlines() if "stands here" in line] == [
        ["stands", "here"]
    ] * 2


def test_arithmetic_is_of_64_bits() -> None:
    assert apply("-", 0, 1) == 2**64 - 1
    assert apply("<<", 1, 64) == 0


@pytest.mark.parametrize("kind", ["finally", "never"])
@pytest.mark.parametrize("caches_on", [False, True])
def test_a_word_is_what_a_cpu_with_caches_on_may_load(kind: str, caches_on: bool) -> None:
    """A store past the caches leaves an old copy in a line, which speculation may have fetched before."""
    stored = _is(X, 1)
    condition = stored if kind == "finally" else Binary("&&", Binary("!=", _is(X, 1), Number(1)), _is(Y, 1))
    programs = [task(Store(X, 1, cacheable=caches_on), Store(Y, 1)), task(Load(X))]
    explorer = explorer_of(programs, cached=True)
    property_ = Property(kind, condition, None, "x")
    explorer.stepper.watch = Watch(
        explorer.stepper.machine, [Resolved(property_, condition, words=((X, 8), (Y, 8)))]
    )
    result = explorer.search(Bounds(), everything=True)
    assert result.complete
    rules = {found.finding.rule for found in result.findings}
    assert ("property" in rules) is not caches_on

"""Every command that shows something, at the first, a middle, the kexec and the last position, both ways.

What it shows is the same forwards and backwards, and what can be computed from the trace alone is compared
with that: stores, the log, who acts.

This is one file because all of its sessions are compared with the same runs.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from emu.case import Case
from emu.debug.commands import _ENTRIES
from emu.debug.session import Session
from emu.debug.stops import Others
from emu.host.build import build
from emu.machine.actor import Grain
from emu.operation import LOADS, OPERATIONS, STORES, Kind
from emu.schedulers import Pick
from emu.schedulers.replay import picks_text

# What boots, with each memory model, by name.
_BOOTS = {
    "coherent": "v3 topology=flat:3",
    "caches": "v3 topology=flat:3 memory=caches fault=2:no-clean",
    "kexec": "v3 topology=flat:3 kexec=v3@1",
    "kexec caches": "v3 topology=flat:3 kexec=v3@1 memory=caches",
    "spin-table": "mainline topology=flat:3 enable-method=spin-table",
    "spin-table caches": "mainline topology=flat:3 enable-method=spin-table memory=caches",
}
# A recorded schedule in which the caches do something by themselves, which is no step of a CPU.
_PICKS = "0x24,2x26,1x5,w40202800,1x2,t0,0x4,2x7,0x4,2x3,0x9"
_OF_CACHES = f"v2 topology=flat:3 scheduler=replay:{_PICKS} memory=caches fault=1:no-52bit-va"
# Each boot as it was run: by instructions, freely, or by operations that a recorded schedule picks. A
# debugger goes through all of them by instructions.
_RUNS = {
    "instruction": "scheduler=random:3 grain=instruction",
    "free": "grain=free",
    "operation": "scheduler=random:5 grain=operation",
}
_CASES = {
    **{f"{name}, {grain}": f"{boot} {run}" for name, boot in _BOOTS.items() for grain, run in _RUNS.items()},
    "caches by themselves, operation": f"{_OF_CACHES} grain=operation",
}
_WORDS = ("ap_sync_state[1]", "cpu_online[2]", "__boot_cpu_mode+4", "cpu_running")
_SHOW = ("where", "cpus", "regs cpu 1", "backtrace", "data", "dmesg", "log 5", "info breakpoints", "findings")
_SHOW += ("disas secondary_entry 4", "print __boot_cpu_mode", "state", "case", "help step")
_WORD, _WORD_BYTES = "__boot_cpu_mode", 4
_SHOW += (f"memory u32 {_WORD}", f"display u32 {_WORD}", "undisplay")
_SHOW += ("vas __boot_cpu_mode all", "search u32 0xe11", *["toggle secondary_entry"] * 2)
_LOOKS = [*_SHOW, *(f"{command} {word}" for word in _WORDS for command in ("x", "who-wrote", "watch"))]


@dataclass(frozen=True, slots=True)
class Straight:
    """A run without a debugger's commands: its trace, and how many rows it has at each position."""

    session: Session
    rows: list[int]

    def last_store(self, pa: int, size: int, position: int) -> tuple[int, int] | None:
        """Return (position, value) of the last store to exactly these bytes, from the trace alone."""
        trace = self.session.machine.trace
        for at in range(position - 1, -1, -1):
            for index in reversed(range(self.rows[at], self.rows[at + 1])):
                kind, width, _cpu, _pc, found, value = trace.row(index)
                if kind in STORES and (found, width) == (pa, size):
                    return at, value
                if kind == Kind.COPY and found < pa + size and pa < found + value:
                    return None
        return None

    def log(self, position: int) -> list[str]:
        """Return the lines of the kernel's log up to a position."""
        trace = self.session.machine.trace
        rows = map(trace.row, range(self.rows[position]))
        return [trace.strings[row[5]] for row in rows if row[0] == Kind.LOG]


@cache
def _case(name: str) -> Case:
    """Return the case of this name; of a run by operations it has the schedule that was recorded."""
    case = Case.parse(_CASES[name])
    if case.grain != "operation" or case.scheduler.startswith("replay:"):
        return case
    machine = build(case).machine
    machine.grain = Grain.OPERATION
    machine.observe()
    picks = []
    while machine.step():
        picks.append(Pick("run", machine.current))
    return replace(case, scheduler=f"replay:{picks_text(picks)}")


@cache
def _straight(name: str) -> Straight:
    session = Session(build(replace(_case(name), grain="instruction")))
    rows = [len(session.machine.trace)]
    while session.run_to(session.position + 1).reason != "end":
        rows.append(len(session.machine.trace))
    return Straight(session, rows)


def _positions(run: Straight) -> list[int]:
    last = run.session.position
    trace = run.session.machine.trace
    reentry = next(
        (
            at
            for at in range(last)
            if any(trace.row(i)[0] == Kind.REENTRY for i in range(run.rows[at], run.rows[at + 1]))
        ),
        last // 3,
    )
    return sorted({0, last // 2, reentry, reentry + 1, last})


def _run(name: str, script: list[str]) -> list[tuple[str, list[str]]]:
    """Return each command of a session of this case with the lines that it prints."""
    command = [sys.executable, "-m", "emu", "step", "--case", _case(name).text(), "--script", "-"]
    done = subprocess.run(command, input="\n".join(script), capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return _said(done.stdout)


def _said(text: str) -> list[tuple[str, list[str]]]:
    # The lines of each command; behind those of the last the verdict is left out.
    parts = [part.splitlines() for part in text.split("(emu) ")[1:]]
    verdict = re.compile(r"(case: |pass|fail|undecided|finding|  +\w)")
    parts[-1] = [parts[-1][0], *(line for line in parts[-1][1:] if not verdict.match(line))]
    return [(part[0], part[1:]) for part in parts]


@pytest.mark.parametrize("name", _CASES)
def test_what_is_shown_is_the_same_both_ways_and_is_what_the_trace_has(name: str) -> None:
    run = _straight(name)
    positions = _positions(run)
    script: list[str] = []
    looks = [*_LOOKS, *(["lines"] if "memory=caches" in _CASES[name] else [])]
    looks += _OF_HOST if "kexec=" not in _CASES[name] else ()  # behind which CPU0 may be off
    for position in (*positions, *positions[::-1]):
        script += [f"goto {position}", "cpu 0", *looks, "delete"]
    script.append("quit")
    command = [sys.executable, "-m", "emu", "step", "--case", _case(name).text(), "--script", "-"]
    text = "\n".join([*script, "no command: it is behind the end"])
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    said = _said(done.stdout)
    assert [line for line, _ in said] == script
    length = len(looks) + 3
    said.pop()
    blocks = [said[at : at + length] for at in range(0, len(said), length)]
    for position, forwards, backwards in zip(positions, blocks, blocks[::-1], strict=False):
        assert forwards[1][1] == backwards[1][1]
        for (line, ahead), (_, back) in zip(forwards[2:], backwards[2:], strict=True):
            if not line.startswith(("watch", "regs", "where", "toggle")):  # numbers and marks go on
                assert ahead == back, (position, line)
        _compare(run, position, dict(forwards))


def _compare(run: Straight, position: int, shown: dict[str, list[str]]) -> None:
    stamped = [re.sub(r"^\[ *[\d.]+\] ", "", line) for line in shown["dmesg"]]
    assert stamped == (run.log(position) or ["nothing yet"])
    # CPU0, which the session looks as, may be off behind a kexec: then it looks past the caches.
    sees = run.session.machine.model is None or not re.search(r"^\* 0 .* off ", shown["cpus"][1])
    for word in _WORDS:
        found = run.last_store(*run.session.places.data(word), position)
        if found is None:
            continue
        at, value = found
        assert shown[f"who-wrote {word}"][1].startswith(f"  #{at} "), (position, word)
        assert f" stored {value:#x}" in shown[f"who-wrote {word}"][1]
        assert not sees or int(shown[f"x {word}"][0].split(": ")[1].split()[0], 16) == value
    pa = run.session.places.data(_WORD)[0]
    assert shown["vas __boot_cpu_mode all"][0].startswith(f"PA {pa:#x} ")
    found = run.last_store(pa, _WORD_BYTES, position)
    if found is not None and sees:
        value = found[1]
        assert int(shown[f"memory u32 {_WORD}"][0].split()[1], 16) == value
        assert f": {value:#010x}" in shown[f"display u32 {_WORD}"][1]
        sought = any(line.startswith(f"{pa:#x} ") for line in shown["search u32 0xe11"])
        assert sought == (value == 0xE11)


_ROW = re.compile(r"^\| (`.*?) \| ", re.M)
_WATCHED = "ap_sync_state[1]"
_PLACE, _CALLED = "__secondary_switched", "set_cpu_boot_mode_flag"
_CALL = f"{_PLACE}+4"  # of the second by the first
# At _PLACE, whose CPU is selected then.
_OF_CODE = (f"walk {_PLACE}", f"vas {_PLACE}", "set sp = 0", "stack 2")
_OF_HOST = ("list", "locals")
# A word is changed, and is so wherever the session comes by behind that position.
_CHANGES = (f"set u32[{_WORD}] = 0x77", f"print u32[{_WORD}]")


def _names() -> set[str]:
    # The own name of each command that the documentation's table has: of `si` it is step.
    text = (Path(__file__).parents[2] / "docs" / "stepping.md").read_text().partition("\n## Commands\n")[2]
    rows = _ROW.findall(text.partition("\n## ")[0])
    own = {name: entry.names[0] for entry in _ENTRIES for name in entry.names}
    return {own[words.split()[0]] for row in rows for words in re.findall(r"`([^`]+)`", row)}


def test_every_documented_command_has_a_session() -> None:
    """A command that is new in the table of docs/stepping.md fails here until a session gives it."""
    moves = [line for lines, _ in _MOVES for line in lines]
    others = (
        *_OF_CODE,
        *_OF_HOST,
        *_CHANGES,
        "goto 0",
        "cpu 0",
        "delete",
        "lines",
        "quit",
        "leave",
        "source FILE",
    )
    given = {line.split()[0] for line in (*_LOOKS, *moves, *others)}
    names = _names()
    assert len(names) > 40
    assert names == {entry.names[0] for entry in _ENTRIES}
    assert names <= given


def _next(run: Straight, position: int, wanted: Callable[[int], bool]) -> int | None:
    # The position behind the first step from there on that is wanted.
    return next((at + 1 for at in range(position, run.session.position) if wanted(at)), None)


def _last(run: Straight, position: int, wanted: Callable[[int], bool]) -> int | None:
    # The position before the last step before there that is wanted.
    return next((at for at in range(position - 1, -1, -1) if wanted(at)), None)


def _kinds(run: Straight, at: int, cpu: int = -1) -> set[int]:
    # Kinds of the records of a step, by a CPU or by all.
    rows = map(run.session.machine.trace.row, range(run.rows[at], run.rows[at + 1]))
    return {row[0] for row in rows if cpu in (-1, row[2])}


def _stores(run: Straight, at: int) -> bool:
    pa, size = run.session.places.data(_WATCHED)
    rows = map(run.session.machine.trace.row, range(run.rows[at], run.rows[at + 1]))
    return any(row[0] in STORES and row[4] < pa + size and pa < row[4] + row[1] for row in rows)


def _ran(run: Straight, at: int) -> int:
    return run.session.log.stepped(at)[0]


Expected = Callable[[Straight, int, int], "int | None"]
# Lines of a command, the last of which moves, and where it comes to from a position with a CPU selected, by
# the steps and records of a run without a debugger; None: to the end, or there is no such position.
_MOVES: tuple[tuple[list[str], Expected], ...] = (
    (["step"], lambda run, at, cpu: _next(run, at, lambda each: _ran(run, each) == cpu)),
    (["op"], lambda run, at, cpu: _next(run, at, lambda each: _operates(run, each, cpu))),
    (["back"], lambda run, at, cpu: _last(run, at, lambda each: _ran(run, each) == cpu)),
    (["back-op"], lambda run, at, cpu: _last(run, at, lambda each: _operates(run, each, cpu))),
    (["other"], lambda run, at, _cpu: _next(run, at, lambda each: _ran(run, each) != _ran(run, at - 1))),
    (
        ["events log", "continue"],
        lambda run, at, _: _next(run, at, lambda each: Kind.LOG in _kinds(run, each)),
    ),
    ([f"watch {_WATCHED}", "continue"], lambda run, at, _: _next(run, at, lambda each: _stores(run, each))),
    ([f"watch {_WATCHED}", "rcontinue"], lambda run, at, _: _last(run, at, lambda each: _stores(run, each))),
    ([f"break {_PLACE} cpu 1", "continue"], lambda run, at, _: _arrival(run, at)),
    ([f"tbreak {_PLACE} cpu 1", "continue"], lambda run, at, _: _arrival(run, at)),
    ([f"until {_PLACE} cpu 1"], lambda run, at, _: _arrival(run, at)),
    ([f"until {_CALLED} cpu 1", "finish"], lambda run, at, _: _returns(run, at)),
    ([f"until {_CALL} cpu 1", "next"], lambda run, at, _: _behind_call(run, at)),
    (["others stand", "others schedule", "step"], lambda run, at, cpu: _MOVES[0][1](run, at, cpu)),
)


def _operates(run: Straight, at: int, cpu: int) -> bool:
    return _ran(run, at) == cpu and bool(_kinds(run, at, cpu) & OPERATIONS)


def _behind_call(run: Straight, position: int) -> int | None:
    # Behind the step by which CPU1 returns to behind _CALL, which it comes to from a position on.
    call = run.session.places.instruction(_CALL)
    called = _arrival(run, position, call)
    return None if called is None else _arrival(run, called, call + 4)


def _returns(run: Straight, position: int) -> int | None:
    # Behind the step by which CPU1 returns from _CALLED, which it comes to from a position on.
    called = _arrival(run, position, run.session.places.instruction(_CALLED))
    if called is None:
        return None
    cpu, pc = run.session.log.stepped(called - 1)
    assert cpu == 1
    return _arrival(run, called, run.session.places.pa(pc + 4))


def _arrival(run: Straight, position: int, pa: int = -1) -> int | None:
    # Behind the step that brings CPU1 to a PA, of _PLACE if none is given, the first from a position on.
    pa = run.session.places.instruction(_PLACE) if pa < 0 else pa
    steps = [(at, run.session.log.stepped(at)) for at in range(run.session.position)]
    own = [(at, pc) for at, (cpu, pc) in steps if cpu == 1]
    came = [before + 1 for (before, _), (_, pc) in pairwise(own) if pc and run.session.places.pa(pc) == pa]
    return next((at for at in came if at > position), None)


@pytest.mark.parametrize("name", _CASES)
def test_what_moves_comes_to_where_the_trace_says_both_ways(name: str) -> None:
    run = _straight(name)
    last = run.session.position
    positions = _positions(run)
    wanted: list[tuple[int, list[str], int]] = []
    script: list[str] = []
    for position in (*positions, *positions[::-1]):
        for lines, expected in _MOVES:
            cpu = _ran(run, min(position, last - 1))
            goal = expected(run, position, cpu) if position or lines != ["other"] else None
            if goal is None or not _same_numbers(run, min(position, goal), max(position, goal)):
                continue
            script += [f"goto {position}", f"cpu {cpu}", *lines, "delete", "events none"]
            wanted.append((position, lines, goal))
    command = [sys.executable, "-m", "emu", "step", "--case", _case(name).text(), "--script", "-"]
    done = subprocess.run(command, input="\n".join(script), capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    moves = {lines[-1] for lines, _ in _MOVES}
    said = [lines[-1] for line, lines in _said(done.stdout) if line in moves]
    assert len(said) == len(wanted) > 2 * len(_MOVES)
    for (position, lines, goal), line in zip(wanted, said, strict=True):
        assert line.startswith(f"#{goal} "), (position, lines, line)


@pytest.mark.parametrize("name", [name for name in _CASES if name.startswith("kexec")])
@pytest.mark.parametrize("move", ["step", "op"])
def test_a_step_into_the_next_boot_is_one_of_the_same_cpu_by_its_new_number(name: str, move: str) -> None:
    run = _straight(name)
    begins = next(at for at in range(run.session.position) if Kind.REENTRY in _kinds(run, at))
    rows = map(run.session.machine.trace.row, range(run.rows[begins], run.rows[begins + 1]))
    numbers = {row[5]: row[2] for row in rows if row[0] == Kind.REENTRY}
    assert any(old != new for old, new in numbers.items())
    expected = _MOVES[0][1] if move == "step" else _MOVES[1][1]
    script, wanted = [], []
    for at in (begins, begins - 1):
        for old, new in numbers.items():
            if at < begins and _ran(run, at) == old:
                continue  # it steps before it gets another number
            script += [f"goto {at}", f"cpu {old}", move, "where"]
            wanted.append((expected(run, begins, new), new))
    said = [lines[-1] for line, lines in _run(name, script) if line == "where"]
    assert len(said) == len(wanted) > len(numbers)
    for line, (goal, new) in zip(said, wanted, strict=True):
        assert line.startswith(f"#{goal} CPU{new} "), line


def _same_numbers(run: Straight, first: int, last: int) -> bool:
    # Whether CPUs have the same numbers from one position to the other: no kexec lies between.
    return not any(Kind.REENTRY in _kinds(run, at) for at in range(first, last))


@pytest.mark.parametrize("name", _CASES)
def test_what_is_set_is_there_from_its_position_on_and_not_before(name: str) -> None:
    """Up to the next store to it, of the trace."""
    run = _straight(name)
    pa, size = run.session.places.data(_WORD)[0], _WORD_BYTES
    stores = [at for at in range(run.session.position) if _is_stored(run, at, pa, size)]
    first, second = stores[0], stores[1] if len(stores) > 1 else run.session.position - 1
    middle = (first + second) // 2 + 1
    change, look = _CHANGES
    script = [f"goto {middle}", "cpu 0", change, look]
    for position in (first, middle, second, first + 1, middle + 1):
        script += [f"goto {position}", look]
    command = [sys.executable, "-m", "emu", "step", "--case", _case(name).text(), "--script", "-"]
    done = subprocess.run(command, input="\n".join(script), capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    shown = [int(lines[0].split()[0], 16) for line, lines in _said(done.stdout) if line == look]
    assert shown[0] == shown[2] == shown[3] == shown[5] == 0x77
    found = run.last_store(pa, size, first + 1)
    assert found is not None
    assert shown[4] == found[1]
    assert shown[1] != 0x77


def _is_stored(run: Straight, at: int, pa: int, size: int) -> bool:
    rows = map(run.session.machine.trace.row, range(run.rows[at], run.rows[at + 1]))
    return any(row[0] in STORES and row[4] < pa + size and pa < row[4] + row[1] for row in rows)


def test_tables_and_stack_of_a_cpu_that_runs_code_are_what_its_words_say() -> None:
    name = "coherent, free"
    run = _straight(name)
    places = run.session.places
    arrival = _arrival(run, 0)
    assert arrival is not None
    stack = places.data("cpu_boot_data[1].task")[0]
    words = [*_OF_CODE[:2], f"set sp = {places.va(stack):#x}", "stack 2"]
    script = [f"goto {arrival}", "cpu 1", *words, "goto 0", f"goto {arrival}", "cpu 1", *words]
    command = [sys.executable, "-m", "emu", "step", "--case", _case(name).text(), "--script", "-"]
    done = subprocess.run(command, input="\n".join(script), capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    said = _said(done.stdout)
    assert said[2:6] == said[9:]
    pa, shown = places.instruction(_PLACE), dict(said)
    assert any(line.startswith(f"PA {pa:#x} ") for line in shown[words[0]])
    assert any(f"{places.va(pa):#018x}" in line for line in shown[words[1]])
    for at, line in enumerate(shown["stack 2"]):
        found = run.last_store(stack + 8 * at, 8, arrival)
        assert found is not None
        assert f": {found[1]:#018x}" in line


@pytest.mark.parametrize("name", _CASES)
def test_a_word_shown_is_what_the_next_load_of_it_has(name: str) -> None:
    """Of the CPU that loads it: a line that is dirty elsewhere, or a stale one, is not what it sees."""
    run = _straight(name)
    loads = _loads(run)
    script: list[str] = []
    for at, cpu, pa, size, _value in (*loads, *loads[::-1]):
        script += [f"goto {at}", f"cpu {cpu}", f"x u{8 * size} {pa:#x}"]
    shown = [
        int(lines[0].split(": ")[1].split()[0], 16) for line, lines in _run(name, script) if line[0] == "x"
    ]
    wanted = [value for *_, value in loads]
    assert len(wanted) > 10
    assert shown == [*wanted, *wanted[::-1]]


def _loads(run: Straight) -> list[tuple[int, int, int, int, int]]:
    # Position, CPU, PA, size and value of the first load, the last and one amid of each word by each CPU.
    found: dict[tuple[int, int], list[tuple[int, int, int, int, int]]] = {}
    trace = run.session.machine.trace
    for at in range(run.session.position):
        cpu = _ran(run, at)
        for index in range(run.rows[at], run.rows[at + 1]):
            kind, size, actor, _pc, pa, value = trace.row(index)
            if kind in LOADS and kind != Kind.ATOMIC and actor == cpu and size:  # ATOMIC has what is stored
                found.setdefault((cpu, pa), []).append((at, cpu, pa, size, value))
    return sorted({each for some in found.values() for each in (some[0], some[len(some) // 2], some[-1])})


@pytest.mark.parametrize("name", _CASES)
def test_leave_comes_to_where_its_cpu_alone_is_out_of_the_loop(name: str) -> None:
    """Forwards, from there one step back, and again from the same position."""
    run = _straight(name)
    script: list[str] = []
    wanted: list[tuple[int, int]] = []
    for at, cpu in reversed(_in_loops(run)):  # what comes behind a step out of its turn is another run
        goal = _out_of_loop(name, at, cpu)
        for _ in range(2):
            script += [f"goto {at}", f"cpu {cpu}", "leave", "back"]
            wanted.append((goal, goal - 1))
    said = [int(lines[-1].split()[0][1:]) for line, lines in _run(name, script) if line in ("leave", "back")]
    assert list(zip(said[::2], said[1::2], strict=True)) == wanted
    assert wanted


def _in_loops(run: Straight) -> list[tuple[int, int]]:
    # Position and CPU of the first step of each CPU in each loop, and of the last.
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for at in range(run.session.position):
        cpu, pc = run.session.log.stepped(at)
        loop = run.session.places.loop(pc) if pc else None
        if loop is not None:
            found.setdefault((cpu, loop[0]), []).append((at, cpu))
    return sorted({each for some in found.values() for each in (some[0], some[-1])})


def _out_of_loop(name: str, position: int, cpu: int) -> int:
    # By single steps of the CPU alone, until it is out of the loop or cannot go on.
    session = Session(build(replace(_case(name), grain="instruction")))
    session.run_to(position)
    session.settings.others = Others.STAND
    actor, loop = session.machine.actors[cpu], session.places.loop(session.pe(cpu).pc)
    assert loop is not None
    first, last, _ = loop
    while actor.task is None and first <= actor.pe.pc <= last and session.machine.is_runnable(cpu):
        session.step(cpu)
    return session.position


@pytest.mark.parametrize("name", _CASES)
def test_the_commands_of_a_file_do_what_they_do_when_they_are_given(name: str, tmp_path: Path) -> None:
    """Forwards and backwards: the file itself goes back, and on with the rest of it."""
    run = _straight(name)
    script: list[str] = []
    wanted: list[list[str]] = []
    for number, (at, other) in enumerate(pairwise([*_positions(run), *_positions(run)[::-1]])):
        lines = [f"goto {other}", "cpu 0", *_FROM_FILE, f"goto {at}", "where"]
        file = tmp_path / f"{number}.emu"
        file.write_text("\n".join(lines))
        script += [f"goto {at}", "cpu 0", *lines, f"goto {at}", "cpu 0", f"source {file}", "where"]
        wanted.append(lines)
    said = _run(name, script)
    for lines in wanted:
        length = len(lines)
        given, sourced = said[2 : 2 + length], said[5 + length : 5 + 2 * length]
        assert [line for line, _ in given] == [line for line, _ in sourced] == lines
        assert given == sourced
        said = said[6 + 2 * length :]
    assert not said


# Commands that show what a run has done, and where from.
_FROM_FILE = ("where", "dmesg", "log 5", f"x {_WATCHED}", f"who-wrote {_WATCHED}", "state cpu 1")

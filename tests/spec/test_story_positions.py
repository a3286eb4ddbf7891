"""The numbers of a story are positions of a debug session: ``goto`` one, and the same happens next."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import pytest
from programs import run_emu, run_program

from emu.case import Case
from emu.debug.session import Session
from emu.explore.confirm import confirm, confirm_shortest, shown_by
from emu.explore.explorer import explore_case
from emu.explore.search import Bounds
from emu.host.build import build
from emu.host.tracing import symbol_table
from emu.models import MODELS
from emu.operation import Kind
from emu.report.history import Names
from emu.report.story import Story, step_text, tell_story
from emu.schedulers.replay import parse_picks

EMU = sys.executable, "-m", "emu"
# What a CPU of a story does that no record tells, and where it comes from.
PICKED = {
    "gives up waiting": "timeout",
    "firmware starts it": "start",
    "its store-exclusive fails by itself": "fail",
    "its maintenance takes effect later": "delay",
}


def stories(text: str, **bounds: int) -> list[Story]:
    case = Case.parse(text)
    explorer, boot = explore_case(case)
    if case.scheduler.startswith("replay:"):
        _, found = shown_by(explorer, case, tuple(parse_picks(case.scheduler.removeprefix("replay:"))))
        return [tell_story(boot, confirm(explorer, each)) for each in found]
    found = explorer.search(Bounds(**bounds)).findings
    return [tell_story(boot, confirm_shortest(explorer, boot, each)) for each in found]


def check_numbers(story: Story) -> set[str]:
    """See that each step is at its position in a session; return what kinds of steps there were."""
    case = Case.parse(story.case)
    session = Session(build(replace(case, grain="instruction")))
    session.run_to(max(step.number for step in story.steps) + 1)
    names = Names(session.machine.trace, symbol_table(session.boot.guest))
    choices = [line.partition("{}")[0] for line in MODELS[case.memory].choices.values()]
    seen = set()
    for step in story.steps:
        if step.number == session.position:  # the end of the schedule, behind which nothing is done
            assert step.cpu < 0 or step.text == "stands here"
            continue
        cpu, _pc = session.log.stepped(step.number)
        records = session.log.records_of(step.number)
        if step.cpu < 0:
            assert cpu < 0
            lost = [record for record in records if record.kind is Kind.LOST]
            lines = [record for record in records if record.kind is Kind.LINE]
            said = [f"= {record.value:#x} is lost" in step.text for record in lost]
            said += [step.text.startswith(choices[record.value]) for record in lines]
            assert any(said), step
            seen.add("caches")
        elif step.text in PICKED:
            assert cpu in (step.cpu, -1), step
            seen.add(PICKED[step.text])
        else:
            here = [(record.actor, step_text(record, session.machine.trace, names)) for record in records]
            assert (step.cpu, step.text) in here, (step, here)
            seen.add("operation" if cpu == step.cpu else "another's")
    return seen


# case, bounds, the kinds of steps that its stories must have
FOUND = [
    ("mainline topology=flat:3 bringup=parallel force=1", {}, {"operation", "another's", "timeout"}),
    ("v3 topology=flat:3 memory=caches fault=2:no-clean", {}, {"operation", "timeout"}),
    (
        "v2 topology=flat:3 scheduler=replay:0x24,2x26,1x5,w40202800,1x2,t0,0x4,2x7,0x4,2x3,0x9"
        " grain=operation memory=caches fault=1:no-52bit-va",
        {},
        {"operation", "caches"},
    ),
    ("v3 topology=flat:3 enable-method=spin-table fault=1:no-sev", {}, {"operation"}),
    ("v3 topology=flat:2 fault=1:double-start", {}, {"operation", "start"}),
    ("v3 topology=flat:3 fault=1:late:5", {}, {"operation", "timeout", "start"}),
    ("v3 topology=flat:2", {"early": 1}, {"operation", "timeout"}),
]


@pytest.mark.parametrize(("text", "bounds", "kinds"), FOUND, ids=[text for text, *_ in FOUND])
def test_a_session_does_at_each_number_what_the_story_says(
    text: str, bounds: dict[str, int], kinds: set[str]
) -> None:
    told = stories(text, **bounds)
    assert told
    assert kinds <= set().union(*(check_numbers(story) for story in told))


def test_goto_a_number_of_a_story_and_the_cpu_of_that_step_is_shown_in_front_of_it() -> None:
    """Forwards and backwards, as a user does it."""
    done = run_emu("explore", "v3", "--cpus", "3", "--memory", "caches", "--fault", "2:no-clean")
    story = done.stdout.splitlines()
    case = next(line for line in story if line.startswith("case: ")).removeprefix("case: ")
    rows = {}
    for line in story:
        if match := re.fullmatch(r" *(\d+) ( *)(?:load|store|dc \w+|call|wfe).* (\S+):(\d+)", line):
            rows[int(match[1])] = match[3], match[4], "CPU2" if match[2] else "CPU0"
    assert {cpu for *_, cpu in rows.values()} == {"CPU0", "CPU2"}
    order = [*sorted(rows), *sorted(rows, reverse=True)]
    script = "".join(f"goto {number}\n" for number in order)
    said = run_program(*EMU, "step", "--case", case, "--script", "-", input=script).stdout
    shown = [line for line in said.splitlines() if line.startswith("#")]
    assert len(shown) == len(order)
    for number, line in zip(order, shown, strict=True):
        file, at, cpu = rows[number]
        assert line.startswith(f"#{number} {cpu} ")
        assert f"{file}:{at})" in line


def test_what_the_caches_do_by_themselves_is_no_step_of_a_cpu() -> None:
    picks = "0x24,2x26,1x5,w40202800,1x2"
    text = f"v2 topology=flat:3 scheduler=replay:{picks} memory=caches fault=1:no-52bit-va"
    session = Session(build(replace(Case.parse(text), grain="instruction")))
    while session.step(1).reason == "step":
        cpus = [session.log.stepped(at)[0] for at in range(session.position)]
        assert cpus[-1] == 1
        if -1 in cpus:
            break
    position, lacking = session.log.back(1, 2)
    assert not lacking
    assert session.log.stepped(position)[0] == 1
    assert session.log.stepped(position + 1)[0] == -1

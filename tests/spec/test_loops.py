"""Code that never comes to an end, on the way of secondaries: noticed by the boot and by the exploration."""

from __future__ import annotations

from pathlib import Path

import pytest
from assembly_texts import TEMPLATE

from emu.case import Case
from emu.errors import Untestable
from emu.explore.confirm import confirm_shortest
from emu.explore.explorer import explore_case
from emu.explore.search import Bounds
from emu.host.build import build
from emu.outcome import End
from emu.rules import judge

BOUND = 400_000  # instructions: more than it takes to notice
ENDLESS = {
    "b .": End.SELF_BRANCH,
    "l_1: wfi\n b l_1": End.WAITS_FOR_INTERRUPT,
    "l_1: wfe\n b l_1": End.ASLEEP_WFE,
    "l_1: yield\n b l_1": End.SPINS,
    "l_1: dsb sy\n isb\n b l_1": End.SPINS,
    "l_1: sev\n b l_1": End.SPINS,
    "sevl\n adr_l x1, my_words\nl_1: ldr x2, [x1]\n cbz x2, l_1": End.SPINS,
    "adr_l x1, my_words\nl_1: ldr x2, [x1]\n cbz x2, l_1": End.SPINS,
    # Each CPU waits for the other's word, and stores the same value to its own all the time.
    "adr_l x1, my_words\n add x2, x1, x19, lsl #3\nl_1: str xzr, [x2]\n ldr x3, [x1, #64]\n cbz x3, l_1": (
        End.SPINS
    ),
    "l_1: movz x0, #4\n movk x0, #0xc400, lsl #16\n mov x1, #0\n mov x2, #0\n smc #0\n cbz x0, l_1": (
        End.SPINS
    ),
    "mov x1, #8\n msr vbar_el1, x1\n isb\n .inst 0": End.VECTOR_WITHOUT_CODE,
    "adr x1, v_1\n msr vbar_el1, x1\n isb\n .inst 0\n b v_2\n .balign 2048\nv_1: .zero 512\n eret\nv_2:": (
        End.EXCEPTION_LOOP
    ),
}
GETS_SOMEWHERE = {
    "a long count": "mov x1, #0x10000000000\nl_1: subs x1, x1, #1\n b.ne l_1",
    "a wait for the counter": "l_1: mrs x1, cntvct_el0\n b l_1",
}
every_loop = pytest.mark.parametrize(("text", "end"), ENDLESS.items())


def subject(tmp_path: Path, text: str, where: str) -> Path:
    """A design of our own whose secondaries run ``text`` with their MMU off, or on."""
    path = tmp_path / "loop.S"
    path.write_text(TEMPLATE.format(**{"on": "", "off": "", where: text}))
    return path


@every_loop
@pytest.mark.parametrize("where", ["off", "on"])
def test_a_boot_notices_what_never_ends(text: str, end: End, where: str, tmp_path: Path) -> None:
    path = subject(tmp_path, text, where)
    machine = build(Case.parse(f"{path} topology=flat:3 instructions-max={BOUND}")).machine
    machine.run()
    machine.finish()
    assert machine.stopped == ""
    assert [machine.outcome(cpu).end for cpu in (1, 2)] == [end, end]
    assert judge(machine.trace).findings


@every_loop
def test_an_exploration_does_not_pass_what_never_ends_and_its_story_ends(
    text: str, end: End, tmp_path: Path
) -> None:
    path = subject(tmp_path, text, "on")
    explorer, boot = explore_case(Case.parse(f"{path} topology=flat:3 instructions-max={BOUND}"))
    result = explorer.search(Bounds(depth=1000, schedules=1000))
    if not result.findings:  # a livelock in which a CPU stores: no proof that there is none
        assert (end, result.incomplete) == (End.SPINS, ["no schedule came to an end"])
        return
    confirmed = confirm_shortest(explorer, boot, result.findings[0])
    assert confirmed.found.finding.cpus


_HANDLED = """adr x1, v_1
        msr vbar_el1, x1
        isb
        adr_l x1, my_words
        add x1, x1, x19, lsl #7
        add x2, x1, #64
        mov x3, #8
        {code}
        b v_2
        .balign 2048
v_1:    .zero 512
        {handler}
        eret
v_2:"""
_IN_MEMORY = "ldr x4, [x1]\n add x4, x4, #1\n str x4, [x1]"
_ON_STACK = f"stp x4, x5, [x2, #-16]!\n {_IN_MEMORY}\n ldp x4, x5, [x2], #16"


@pytest.mark.parametrize("handler", [_IN_MEMORY, _ON_STACK])
@pytest.mark.parametrize("code", [".inst 0", "ldr x5, [x3]", "l_1: svc #0\n b l_1", "brk #3"])
def test_an_exception_whose_handler_counts_in_memory_is_an_end(
    code: str, handler: str, tmp_path: Path
) -> None:
    path = subject(tmp_path, _HANDLED.format(code=code, handler=handler), "on")
    machine = build(Case.parse(f"{path} topology=flat:2")).machine
    machine.run()
    machine.finish()
    assert (machine.stopped, machine.outcome(1).end) == ("", End.EXCEPTION_LOOP)
    explorer, _ = explore_case(Case.parse(f"{path} topology=flat:2"))
    assert explorer.search(Bounds()).incomplete


@pytest.mark.parametrize("times", [3, 300, 5000])
def test_an_exception_whose_handler_passes_over_it_some_time_is_none(times: int, tmp_path: Path) -> None:
    handler = f"add x5, x5, #1\n mov x6, #{times}\n cmp x5, x6\n b.ne l_2\n mrs x6, elr_el1\n"
    handler += "add x6, x6, #4\n msr elr_el1, x6\nl_2:"
    path = subject(tmp_path, _HANDLED.format(code="mov x5, #0\n .inst 0", handler=handler), "on")
    machine = build(Case.parse(f"{path} topology=flat:2")).machine
    machine.run()
    machine.finish()
    assert machine.outcome(1).end is End.ONLINE
    assert machine.actors[1].pe.counters.exceptions == times


@pytest.mark.parametrize("text", GETS_SOMEWHERE.values(), ids=GETS_SOMEWHERE)
def test_what_gets_somewhere_for_ever_comes_to_a_bound_that_is_named(text: str, tmp_path: Path) -> None:
    path = subject(tmp_path, text, "on")
    machine = build(Case.parse(f"{path} topology=flat:2 instructions-max={BOUND}")).machine
    machine.run()
    assert machine.stopped in (
        f"limit of {BOUND} instructions (--instructions-max): CPU1's loop takes more",
        f"limit of {BOUND / 10**6:g} s of simulated time: CPU1 waits longer for the counter; a microsecond "
        "for each of --instructions-max",
    )


def test_an_exploration_of_a_long_count_is_untestable(tmp_path: Path) -> None:
    path = subject(tmp_path, GETS_SOMEWHERE["a long count"], "on")
    explorer, _ = explore_case(Case.parse(f"{path} topology=flat:2"))
    with pytest.raises(
        Untestable, match="CPU1 runs more than 2097152 instructions without an operation, which .* at PC"
    ):
        explorer.search(Bounds())


def test_a_question_to_firmware_is_asked_again_when_the_answer_changes(tmp_path: Path) -> None:
    """CPU1 asks for CPU2 until it is on, longer than it takes to notice that it goes round."""
    text = (
        "cmp x19, #1\n b.ne l_2\nl_1: movz x0, #4\n movk x0, #0xc400, lsl #16\n mov x1, #2\n mov x2, #0\n"
        " smc #0\n cbnz x0, l_1\nl_2:"
    )
    path = subject(tmp_path, text, "on")
    case = f"{path} topology=flat:3 fault=2:late:3000000 instructions-max={BOUND}"
    machine = build(Case.parse(case)).machine
    machine.run()
    assert machine.stopped == ""
    assert [machine.outcome(cpu).end for cpu in (1, 2)] == [End.ONLINE, End.ONLINE]

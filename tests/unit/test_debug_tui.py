"""The screen of ``emu step``, driven by textual's pilot: keys, panes, prompt, and a run that takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from programs import FOREVER
from screens import LOOKS_MAX, idle
from textual.pilot import Pilot
from textual.widgets import Static

from emu.case import Case
from emu.debug.remote import Debugger
from emu.debug.tui import panes
from emu.debug.tui.app import Prompt, StepApp

_MINE = Path(__file__).parents[2] / "examples" / "my_boot.S"
Drive = Callable[[StepApp, Pilot[int]], Awaitable[None]]


def drive(run: Drive, case: Case | None = None, size: tuple[int, int] = (80, 24)) -> StepApp:
    """Start the screen and let ``run`` press keys; return the app when it has ended."""
    app = StepApp(Debugger(case or Case("v3", topology="flat:4", grain="instruction")))

    async def main() -> None:
        async with app.run_test(size=size) as pilot:
            await idle(app, pilot)
            await run(app, pilot)

    try:
        asyncio.run(main())
    finally:
        app.debugger.close()
    return app


async def until(pilot: Pilot[int], holds: Callable[[], bool]) -> None:
    """Wait until the screen has been laid out so."""
    for _ in range(LOOKS_MAX):
        if holds():
            return
        await pilot.pause(0.01)
    raise AssertionError("the screen does not come to it")


async def press(app: StepApp, pilot: Pilot[int], *keys: str) -> None:
    """Press keys, and wait for what they do."""
    await pilot.press(*keys)
    await idle(app, pilot)


async def enter(app: StepApp, pilot: Pilot[int], command: str) -> None:
    """Type a command at the prompt, wait for what it does, and leave the prompt.

    Escape stops a command that still runs, and drops one that has not begun.
    """
    await pilot.press("colon")
    app.query_one(Prompt).value = command
    await press(app, pilot, "enter")
    await press(app, pilot, "escape")


def text(app: StepApp, name: str) -> str:
    """Return what a part of the screen shows."""
    widget = app.query_one(f"#{name}", Static) if name == "title" else app._panes[name].body
    return str(widget.render())


def visible(app: StepApp) -> list[str]:
    """Return the panes that can be seen."""
    return [name for name, pane in app._panes.items() if pane.display and pane.size.height > 0]


def test_it_opens_on_the_boot_cpu_with_the_source_of_what_it_does() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        assert "#0 CPU0 host the start" in text(app, "title")
        assert "def boot_cpu(" in text(app, "code")
        assert ">0   0x0      host" in text(app, "cpus")

    drive(run)


def test_keys_step_and_go_back() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await enter(app, pilot, "until scan")
        assert "scan" in text(app, "title")
        assert "X19   0000000000000000" in text(app, "registers")
        assert app.answer is not None
        position = app.answer["view"]["position"]
        for key in "soltbBfm":
            await press(app, pilot, key)
            assert not app.answer["error"], (key, app.answer["error"])
        await enter(app, pilot, f"goto {position}")
        assert f"#{position} " in text(app, "title")
        await press(app, pilot, "c")
        await press(app, pilot, "r")
        assert "#0 " in text(app, "title")

    drive(run)


def test_x_sets_a_breakpoint_here_that_is_hit_and_shown() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await enter(app, pilot, "until scan cpu 1")
        await press(app, pilot, "x")
        await press(app, pilot, "c", "4")
        assert "breakpoint 2: scan, CPU" in text(app, "title")
        assert text(app, "stops") == "2 break scan (1 hits)"
        assert any(line.startswith("b  24 ") for line in text(app, "code").splitlines())
        await press(app, pilot, "x")
        assert "none" in text(app, "stops")

    drive(run)


def test_n_and_p_walk_through_the_cpus() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        for keys, cpu in (("n", 1), ("nn", 3), ("n", 0), ("p", 3)):
            await press(app, pilot, *keys)
            assert app.answer is not None
            # Each press asks for the one beside the CPU that is shown: all at once is one step.
            for _ in range(len(keys) - 1):
                if app.answer["view"]["cpu"] != cpu:
                    await press(app, pilot, keys[0])
            assert app.answer["view"]["cpu"] == cpu
        assert text(app, "registers") == "off"

    drive(run)


def test_d_shows_the_disassembly_instead_of_the_source() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await enter(app, pilot, "until scan")
        assert "ldr     x3, [x1, x19, lsl #3]" in text(app, "code")
        await press(app, pilot, "d")
        assert "ldr x3, [x1, x19, lsl #3]" in text(app, "code")
        await press(app, pilot, "d")
        assert "ldr     x3" in text(app, "code")

    drive(run)


def test_the_lower_panes_are_on_the_digits() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await press(app, pilot, "o")
        for key, name, piece in (
            ("1", "cpus", ">0 "),
            ("2", "log", "CPU0 stores 0x1 to cpu_online[0]"),
            ("3", "data", "cpu_boot_data[1].task"),
            ("4", "stops", "none"),
            ("5", "output", "(emu) op"),
        ):
            await press(app, pilot, key)
            assert visible(app) == ["code", "registers", name]
            assert piece in text(app, name)

    drive(run)


def test_a_large_terminal_shows_all_panes() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await enter(app, pilot, "until scan")
        assert len(visible(app)) == 9
        regions = [app._panes[name].region for name in visible(app)]
        assert all(a is b or not a.overlaps(b) for a in regions for b in regions)

    drive(run, size=(160, 48))


def test_system_registers_are_seen_from_110_columns_on_beside_one_lower_pane() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await enter(app, pilot, "until scan")
        assert visible(app) == ["code", "registers", "cpus", "system", "output"]
        assert "SCTLR" in text(app, "system")
        assert "SCTLR" not in text(app, "registers")
        for key, name in (("3", "data"), ("6", "data"), ("1", "data"), ("4", "stops")):
            await press(app, pilot, key)
            assert visible(app) == ["code", "registers", "cpus", "system", name]
        assert app._panes["registers"].max_scroll_y == 0, "all of X0 to X30 are seen"

    drive(run, size=(120, 40))


def test_help_opens_at_its_top_and_other_output_at_its_end() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await press(app, pilot, "question_mark")
        pane = app._panes["output"]
        await until(pilot, lambda: pane.max_scroll_y > 0 and pane.scroll_y < pane.max_scroll_y)
        assert text(app, "output").splitlines()[int(pane.scroll_y)] == "(emu) help"
        await enter(app, pilot, "position")
        await until(pilot, lambda: pane.scroll_y == pane.max_scroll_y)

    drive(run)


async def click(app: StepApp, pilot: Pilot[int], name: str, row: int, times: int = 1) -> None:
    """Click on a row of a pane's text."""
    body = app._panes[name].body
    await pilot.click(body, offset=(1, row), times=times)
    await idle(app, pilot)


def test_a_click_selects_a_cpu_sets_a_breakpoint_on_a_line_and_goes_to_an_operation() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await enter(app, pilot, "until scan cpu 1")
        await click(app, pilot, "code", 23)
        assert text(app, "stops") == "2 break asm/lookup/v3.S:24"
        await click(app, pilot, "code", 23)
        assert text(app, "stops").startswith("none")
        await press(app, pilot, "d")
        assert app.answer is not None
        here = next(row for row, line in enumerate(app.answer["view"]["code"]) if line["here"])
        await click(app, pilot, "code", here + 1)
        assert len(app.answer["view"]["stops"]) == 1
        await click(app, pilot, "cpus", 2)
        assert app.answer["view"]["cpu"] == 2
        app._panes["log"].scroll_home(animate=False)
        await pilot.pause()
        third = text(app, "log").splitlines()[2].split()[0]
        await click(app, pilot, "log", 2)
        assert f"#{app.answer['view']['position']}" != third, "one click does not travel"
        await click(app, pilot, "log", 2, times=2)
        assert f"#{app.answer['view']['position']}" == third

    drive(run, size=(200, 60))


def test_everything_fits_into_80_by_24() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        for name in ("title", "line", "keys0", "keys1"):
            region = app.query_one(f"#{name}").region
            assert region.height == 1, name
            assert region.bottom <= 24, name
            assert region.width == 80, name
        for row in ("keys0", "keys1"):
            assert len(str(app.query_one(f"#{row}", Static).render())) <= 80
        code, registers = app._panes["code"].region, app._panes["registers"].region
        assert code.width >= 50
        assert code.height >= 10
        assert registers.right == 80

    drive(run)


def test_the_prompt_runs_any_command_and_keeps_what_was_typed() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await pilot.press("colon", *"who-wrote", "space", *"cpu_online[0]")
        assert app.query_one(Prompt).value == "who-wrote cpu_online[0]"
        await press(app, pilot, "enter")
        assert "nobody has, since the start" in text(app, "output")
        await pilot.press("up")
        assert app.query_one(Prompt).value == "who-wrote cpu_online[0]"
        await pilot.press("down")
        assert app.query_one(Prompt).value == ""
        await pilot.press(*"a", "colon", "b")
        assert app.query_one(Prompt).value == "a:b", "a colon is a character there"
        await pilot.press("escape")
        assert not isinstance(app.focused, Prompt)

    drive(run)


def test_what_cannot_be_done_is_in_the_header_until_the_next_command() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await enter(app, pilot, "fly")
        assert "fly: no such command; try help" in text(app, "title")
        await press(app, pilot, "s")
        assert "fly" not in text(app, "title")

    drive(run)


def test_registers_and_data_that_changed_stand_out() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await enter(app, pilot, "until scan")
        await press(app, pilot, "s")
        assert app.answer is not None
        assert app.answer["changed"] == ["PC", "X3"]
        assert app.before is not None

    drive(run)


@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
def test_a_long_run_does_not_freeze_the_screen_and_stops_at_a_key(key: str, tmp_path: Path) -> None:
    path = tmp_path / "spin.S"
    path.write_text(_MINE.read_text().replace("my_scan:", FOREVER))

    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await pilot.press("c")
        await pilot.pause(0.3)
        assert app.waiting
        assert "Esc stops it" in text(app, "title")
        await pilot.press("2")
        assert app.lower == "log", "keys are heard meanwhile"
        await press(app, pilot, key)
        assert app.answer is not None
        assert app.answer["stop"]["reason"] == "interrupt"

    drive(run, Case(str(path), topology="flat:2", grain="instruction"))


def test_q_ends_it() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await pilot.press("q")

    assert drive(run).return_value == 0


def test_help_lists_the_commands() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await press(app, pilot, "question_mark")
        assert "who-wrote" in text(app, "output")

    drive(run)


def test_what_is_displayed_stands_above_the_boot_data_and_the_case_is_copied() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await enter(app, pilot, "until scan cpu 1")
        await enter(app, pilot, "display [x1 + 8*x19] 2")
        await press(app, pilot, "3")
        shown = str(app.query_one("#data Static", Static).content)
        assert shown.startswith("1: x [x1 + 8*x19] 2\n  0x40202100 __cpu_logical_map[0]: ")
        await enter(app, pilot, "case")
        assert app.clipboard == Case.parse(app.clipboard).text()

    drive(run)


def test_memory_is_followed_at_each_stop_in_the_size_and_form_that_keys_choose() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await press(app, pilot, "7")
        assert text(app, "memory") == "nothing: name an address, such as sp or cpu_boot_data"
        await press(app, pilot, "w", "h")
        assert not app.output, "there is nothing to change"
        await enter(app, pilot, "until scan cpu 1")
        await pilot.press("e")
        assert app.query_one(Prompt).value == "memory "
        await press(app, pilot, *"x1", "plus", "8", "asterisk", "x", "1", "9", "enter")
        await press(app, pilot, "escape")
        assert visible(app) == ["code", "registers", "memory"]
        first = text(app, "memory").split()[:2]  # how many more are in a row is the width of the pane
        await press(app, pilot, "w")
        assert app.answer is not None
        assert app.answer["view"]["memory"]["width"] == 1
        await press(app, pilot, "h")
        assert app._panes["memory"].border_title.startswith("7 memory: u8 dec x1+8*x19")
        await press(app, pilot, "w", "w", "w", "h")
        assert text(app, "memory").split()[:2] == first
        await enter(app, pilot, "until scan cpu 1")  # x19 is one more
        assert int(text(app, "memory").split()[0], 16) == int(first[0], 16) + 8

    drive(run)


def test_the_title_names_the_file_whatever_its_folders_are_called() -> None:
    """A case has the path in quotes where a shell needs them."""
    answer = {
        "view": {"cpu": 0, "cpus": [{"cpu": 0, "mode": "off", "place": {"name": ""}}], "position": 7}
        | {"others": "schedule"},
        "stop": {"why": [], "reason": "step"},
        "error": None,
    }
    for folder in ("/a", "/a~b", "/a b", "/a'b"):
        case = Case(f"{folder}/vmlinux").text()
        assert panes.title(answer, case, "").plain == " vmlinux #7 CPU0 off ", case


def test_what_is_longer_than_its_pane_loses_the_folders_and_then_goes_on_indented() -> None:
    at, rest = "kick (emu/host/kick.py:52)", "  ; [0x40202140 __cpu_logical_map[0]] is 0x0"
    fits = "#96 CPU1 stores 0x1  " + at
    lines = [fits, "#97 CPU1 stores 0x1234  " + at, "  an indented one (a/b.S:2)" + rest]
    shown = panes.output(lines, len(fits)).plain.splitlines()
    assert shown[:2] == [fits, "#97 CPU1 stores 0x1234  kick (kick.py:52)"]
    assert shown[2:] == ["  an indented one (b.S:2)  ; [0x40202140", "      __cpu_logical_map[0]] is 0x0"]
    assert panes.operations({"operations": lines[:2], "cpu": 1}, len(fits)).plain.splitlines() == shown[:2]


def test_rows_of_memory_that_have_changed_are_marked() -> None:
    async def run(app: StepApp, pilot: Pilot[int]) -> None:
        await enter(app, pilot, "memory __boot_cpu_mode")
        await enter(app, pilot, "until set_cpu_boot_mode_store cpu 1")
        await enter(app, pilot, "set u32[__boot_cpu_mode] = 1")
        await press(app, pilot, "s")
        assert app.answer is not None
        shown = panes.memory(app.answer["view"], app.before, 80)
        marked = [span for span in shown.spans if "yellow" in str(span.style)]
        assert marked
        assert all(shown.plain[span.start : span.end].count("\n") == 1 for span in marked)
        assert all(span.start < len(shown.plain.splitlines()[0]) + 1 for span in marked)

    drive(run)

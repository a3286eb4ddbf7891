"""The screen of ``emu step``: a textual app that asks the debugger's process and shows what it answers."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, VerticalScroll
from textual.events import Resize
from textual.widgets import Input, Label, Static

from emu.debug.remote import Debugger
from emu.debug.tui import panes
from emu.errors import EmuError

WIDE = 132  # columns from which on all panes are seen at once
_CODE_LINES = 64  # instructions before and behind the PC
_OPERATIONS = 200
_OUTPUT_LINES_MAX = 2000
_LOWER = ("cpus", "log", "data", "stops", "output")
_OTHERS = ("schedule", "stand", "free")
_KEYS = (
    "s step  o op  f finish  l leave loop  t other CPU  c continue  b back  r rcont",
    "n/p CPU  x break  m others  d disas  1-5 panes  : command  ? help  q quit",
)


class Pane(VerticalScroll):
    """A part of the screen, with a title line; scrolls when it has the focus."""

    def __init__(self, name: str, heading: str) -> None:
        super().__init__(id=name)
        self.border_title = heading
        self.body = Static(markup=False)

    def compose(self) -> ComposeResult:
        """Hold one piece of text."""
        yield self.body


class Prompt(Input):
    """The command line, with the commands so far on the arrow keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "earlier(-1)", show=False),
        Binding("down", "earlier(1)", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(id="prompt", placeholder=": command, ? help", compact=True)
        self.history: list[str] = []
        self._at = 0

    def remember(self, command: str) -> None:
        """Keep a command that was entered."""
        self.history.append(command)
        self._at = len(self.history)

    def action_earlier(self, step: int) -> None:
        """Show an earlier command, or a later one."""
        self._at = min(max(self._at + step, 0), len(self.history))
        self.value = self.history[self._at] if self._at < len(self.history) else ""
        self.cursor_position = len(self.value)


class StepApp(App[int]):
    """Steps one boot."""

    ENABLE_COMMAND_PALETTE = False
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "go('step')"),
        Binding("o", "go('op')"),
        Binding("c", "go('continue')"),
        Binding("f", "go('finish')"),
        Binding("l", "go('leave')"),
        Binding("t", "go('other')"),
        Binding("b", "go('back')"),
        Binding("B", "go('back-op')"),
        Binding("r", "go('rcontinue')"),
        Binding("x", "go('toggle')"),
        Binding("n", "cpu(1)"),
        Binding("p", "cpu(-1)"),
        Binding("m", "others"),
        Binding("d", "source"),
        *(Binding(str(number + 1), f"lower('{name}')") for number, name in enumerate(_LOWER)),
        Binding("colon", "prompt", priority=True),  # at once: the keys behind it are for the prompt
        Binding("question_mark", "help"),
        Binding("escape", "stop", priority=True),
        Binding("ctrl+c", "stop", priority=True),
        Binding("q", "leave"),
    ]

    def __init__(self, debugger: Debugger) -> None:
        super().__init__()
        self.debugger = debugger
        self.answer: dict[str, Any] | None = None
        self.before: dict[str, Any] | None = None
        self.waiting = 0  # commands that have not been answered
        self.lower = "cpus"
        self.as_source = True
        self.output: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._panes = {
            name: Pane(name, heading)
            for name, heading in (
                ("code", "code"),
                ("registers", "registers"),
                ("cpus", "1 CPUs"),
                ("log", "2 operations"),
                ("output", "5 output"),
                ("stops", "4 breakpoints"),
                ("data", "3 boot data"),
            )
        }

    def compose(self) -> ComposeResult:
        """Lay the screen out: header, panes, prompt, keys."""
        yield Static(id="title", markup=False)
        with Container(id="panes"):
            yield from self._panes.values()
        with Horizontal(id="line"):
            yield Label("(emu) ")
            yield Prompt()
        for row, keys in enumerate(_KEYS):
            yield Static(keys, classes="keys", id=f"keys{row}", markup=False)

    def on_mount(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._serve, daemon=True).start()
        self._show_lower("cpus")
        self._panes["code"].focus()
        self.action_go("where", quiet=True)

    def on_resize(self, event: Resize) -> None:
        """Show all panes where there is room."""
        self.set_class(event.size.width >= WIDE, "wide")
        self.call_after_refresh(self._draw)

    # -- asking -----------------------------------------------------------------------------------

    def action_go(self, command: str, quiet: bool = False) -> None:
        """Let the debugger run a command, behind those that it still has to."""
        self.waiting += 1
        self._queue.put(command if quiet else f"{command} ")
        self._draw_title(command)

    def _serve(self) -> None:
        # A thread: waits for commands and for their answers.
        while (command := self._queue.get()) is not None:
            try:
                answer = self.debugger.run(command.strip(), _CODE_LINES, _CODE_LINES, _OPERATIONS)
            except EmuError as error:
                with suppress(RuntimeError):
                    self.call_from_thread(self.exit, 2, message=str(error))
                return
            with suppress(RuntimeError):  # the app has gone
                self.call_from_thread(self._answered, command, answer)

    def _answered(self, command: str, answer: dict[str, Any]) -> None:
        self.waiting -= 1
        if self.answer is None or answer["view"]["position"] != self.answer["view"]["position"]:
            self.before = self.answer["view"] if self.answer else None
        self.answer = answer
        if command.endswith(" "):
            self.output += [f"(emu) {command.strip()}", *answer["lines"]]
            self.output += [f"error: {answer['error']}"] if answer["error"] else []
            del self.output[:-_OUTPUT_LINES_MAX]
        self._draw()

    # -- keys -------------------------------------------------------------------------------------

    def action_cpu(self, step: int) -> None:
        """Select the next CPU, or the one before."""
        if self.answer:
            view = self.answer["view"]
            self.action_go(f"cpu {(view['cpu'] + step) % len(view['cpus'])}", quiet=True)

    def action_others(self) -> None:
        """Let the others do something else while one CPU is stepped."""
        if self.answer:
            now = _OTHERS.index(self.answer["view"]["others"])
            self.action_go(f"others {_OTHERS[(now + 1) % len(_OTHERS)]}")

    def action_source(self) -> None:
        """Show source instead of disassembly, or the other way round."""
        self.as_source = not self.as_source
        self._draw()

    def action_lower(self, name: str) -> None:
        """Show one of the lower panes."""
        self._show_lower(name)
        self._panes[name].focus()
        self._draw()

    def _show_lower(self, name: str) -> None:
        self.lower = name
        for each in _LOWER:
            self._panes[each].set_class(each == name, "shown")

    def action_prompt(self) -> None:
        """Go to the prompt."""
        self.screen.set_focus(self.query_one(Prompt))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let the prompt have a colon."""
        return action != "prompt" or not isinstance(self.focused, Prompt)

    def action_help(self) -> None:
        """Show the commands."""
        self.action_lower("output")
        self.action_go("help")

    def action_stop(self) -> None:
        """Interrupt what runs; leave the prompt."""
        if self.waiting:
            with suppress(queue.Empty):
                while self._queue.get_nowait() is not None:
                    self.waiting -= 1
            self.debugger.interrupt()
        else:
            self.query_one(Prompt).value = ""
        self._panes["code"].focus()

    def action_leave(self) -> None:
        """End."""
        if self.waiting:
            self.debugger.interrupt()
        self._queue.put(None)
        self.exit(0)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Run what was typed."""
        command, prompt = event.value.strip(), self.query_one(Prompt)
        prompt.value = ""
        if command in ("quit", "q"):
            self.action_leave()
        elif command:
            prompt.remember(command)
            self._show_lower("output")
            self.action_go(command)

    # -- drawing ----------------------------------------------------------------------------------

    def _draw_title(self, busy: str = "") -> None:
        if self.answer:
            text = panes.title(self.answer, self.debugger.case, busy)
            self.query_one("#title", Static).update(text)

    def _draw(self) -> None:
        if not self.answer:
            return
        view, shown = self.answer["view"], self._panes
        self._draw_title("running" if self.waiting else "")
        text, row, heading = panes.code(view, self.as_source, shown["code"].content_size.width)
        self._fill("code", text, row)
        shown["code"].border_title = Text(heading)
        width = shown["registers"].content_size.width
        self._fill("registers", panes.registers(view, self.answer["changed"], width))
        self._fill("cpus", panes.cpus(view), view["cpu"])
        self._fill("log", panes.operations(view), len(view["operations"]))
        self._fill("data", panes.data(view, self.before))
        self._fill("stops", panes.stops(view))
        self._fill("output", Text("\n".join(self.output)))
        self.call_after_refresh(shown["output"].scroll_end, animate=False)

    def _fill(self, name: str, text: Text, row: int | None = None) -> None:
        # Put text into a pane; with a row, so that it is seen, in the middle if it can be.
        pane = self._panes[name]
        pane.body.update(text)
        if row is not None:
            height = max(pane.content_size.height, 1)
            self.call_after_refresh(pane.scroll_to, y=max(0, row - height // 2), animate=False)

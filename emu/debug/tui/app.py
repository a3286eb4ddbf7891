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
from textual.events import Click, Resize
from textual.message import Message
from textual.widgets import Input, Label, Static

from emu.debug.remote import Debugger
from emu.debug.tui import panes
from emu.errors import EmuError

WIDE = (160, 40)  # columns and lines from which on all panes are seen at once
MEDIUM = (110, 32)  # and those from which on CPUs and system registers are always there
_CODE_LINES = 64  # instructions before and behind the PC
_OPERATIONS = 200
_OUTPUT_LINES_MAX = 2000
_HEADINGS = {  # in the order in which the grids are filled
    "code": "code",
    "registers": "registers",
    "cpus": "1 CPUs",
    "system": "6 system registers",
    "log": "2 operations",
    "memory": "7 memory",
    "output": "5 output",
    "stops": "4 breakpoints",
    "data": "3 boot data",
}
_LOWER = {heading[0]: name for name, heading in _HEADINGS.items() if heading[0].isdigit()}
_ALWAYS_IN_MEDIUM = ("cpus", "system")
_OTHERS = ("schedule", "stand", "free")
_KEYS = (
    "s step  o op  f finish  l leave loop  t other CPU  c continue  b back  r rcont",
    "n/p CPU  x break  m others  d disas  1-7 panes  e memory  : command  ? help",
)


class RowClicked(Message):
    """A row of a pane was clicked.

    :ivar row: counted from the first line of the pane's text
    :ivar clicks: 2 is a double click
    """

    def __init__(self, pane: str, row: int, clicks: int) -> None:
        super().__init__()
        self.pane = pane
        self.row = row
        self.clicks = clicks


class TextResized(Message):
    """The text of a pane has got another size: ``pane`` is its name."""

    def __init__(self, pane: str) -> None:
        super().__init__()
        self.pane = pane


class Body(Static):
    """The text of a pane; tells which of its rows is clicked, and that it has another size."""

    def __init__(self, pane: str) -> None:
        super().__init__(markup=False)
        self.pane = pane

    def on_resize(self, _event: Resize) -> None:
        """Tell that there is more of it, or less."""
        self.post_message(TextResized(self.pane))

    def on_click(self, event: Click) -> None:
        """Tell the row."""
        self.post_message(RowClicked(self.pane, event.y, event.chain))


class Pane(VerticalScroll):
    """A part of the screen, with a title line; scrolls when it has the focus."""

    def __init__(self, name: str, heading: str) -> None:
        super().__init__(id=name, classes="lower" if name in _LOWER.values() else "")
        self.border_title = heading
        self.body = Body(name)

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
        super().__init__(id="prompt", placeholder=": command, ? help", compact=True, select_on_focus=False)
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
        Binding("e", "examine"),
        Binding("w", "memory('width')"),
        Binding("h", "memory('form')"),
        *(Binding(key, f"lower('{name}')") for key, name in _LOWER.items()),
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
        self.under = "log"  # the lower pane that is shown beside those that always are
        self._last_answer: list[str] = []  # what the last command printed
        self.as_source = True
        self.output: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._panes = {name: Pane(name, heading) for name, heading in _HEADINGS.items()}
        self._drawn: dict[str, int] = {}  # columns of each pane when it was filled last

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
        """Show as many panes as there is room for."""
        columns, lines = event.size
        is_wide = columns >= WIDE[0] and lines >= WIDE[1]
        self.set_class(is_wide, "wide")
        self.set_class(not is_wide and columns >= MEDIUM[0] and lines >= MEDIUM[1], "medium")
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
            error = [f"error: {answer['error']}"] if answer["error"] else []
            self._last_answer = [f"(emu) {command.strip()}", *answer["lines"], *error]
            self.output += self._last_answer
            if command.strip() == "case":
                self.copy_to_clipboard("".join(answer["lines"]))
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

    def action_examine(self) -> None:
        """Go to the prompt, for an address to follow."""
        self.action_prompt()
        prompt = self.query_one(Prompt)
        prompt.value = "memory "
        prompt.cursor_position = len(prompt.value)

    def action_memory(self, part: str) -> None:
        """Show the memory that is followed in words of another size, or in the other form."""
        if not self.answer or not (found := self.answer["view"]["memory"])["what"]:
            return
        width = found["width"] % 8 * 2 or 1
        form = "dec" if found["form"] == "hex" else "hex"
        self.action_go("memory " + (f"u{8 * width}" if part == "width" else form), quiet=True)

    def action_lower(self, name: str) -> None:
        """Show one of the lower panes."""
        self._show_lower(name)
        self._panes[name].focus()
        self.call_after_refresh(self._draw)  # what is in it depends on how wide it is

    def _show_lower(self, name: str) -> None:
        self.lower = name
        self.under = self.under if name in _ALWAYS_IN_MEDIUM else name
        for each in _LOWER.values():
            self._panes[each].set_class(each == name, "shown")
            self._panes[each].set_class(each == self.under, "under")

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

    def on_text_resized(self, event: TextResized) -> None:
        """Fill a pane anew that has got its width only now; show the last output then, too."""
        if self._panes[event.pane].content_size.width != self._drawn.get(event.pane):
            self._draw()
        elif event.pane == "output":
            self._scroll_output()

    def on_row_clicked(self, event: RowClicked) -> None:
        """Select a CPU; set a breakpoint on a line or delete it; twice: go to an operation."""
        if not self.answer:
            return
        view = self.answer["view"]
        command = panes.clicked(view, event.pane, event.row, self.as_source, event.clicks == 2)
        if command:
            self.action_go(command, quiet=event.pane == "cpus")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Run what was typed."""
        command, prompt = event.value.strip(), self.query_one(Prompt)
        prompt.value = ""
        if command in ("quit", "q"):
            self.action_leave()
        elif command:
            prompt.remember(command)
            self._show_lower("memory" if command.split()[0] == "memory" else "output")
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
        self._drawn = {name: pane.content_size.width for name, pane in shown.items()}
        self._draw_title("running" if self.waiting else "")
        text, row, heading = panes.code(view, self.as_source, shown["code"].content_size.width)
        self._fill("code", text, row)
        shown["code"].border_title = Text(heading)
        width = shown["registers"].content_size.width
        of_host = bool(view["stack"])
        shown["registers"].border_title = "stack" if of_host else _HEADINGS["registers"]
        shown["system"].border_title = "6 locals" if of_host else _HEADINGS["system"]
        self._fill("registers", panes.registers(view, self.answer["changed"], width))
        self._fill("system", panes.system(view, self.answer["changed"], shown["system"].content_size.width))
        self._fill("cpus", panes.cpus(view), view["cpu"])
        self._fill("log", panes.operations(view, self._width("log")), len(view["operations"]))
        self._fill("data", panes.data(view, self.before))
        self._fill("stops", panes.stops(view))
        width = shown["memory"].content_size.width
        shown["memory"].border_title = Text(panes.memory_title(view))
        self._fill("memory", panes.memory(view, self.before, width))
        self._fill("output", panes.output(self.output, self._width("output")))
        self.call_after_refresh(self._scroll_output)

    def _scroll_output(self) -> None:
        # The end of the output, but of a long answer its first lines.
        pane = self._panes["output"]
        last = panes.output(self._last_answer, self._width("output")).plain.count("\n") + 1
        height = pane.content_size.height
        pane.scroll_to(y=pane.virtual_size.height - max(last, height), animate=False)

    def _width(self, name: str) -> int:
        # The columns of a pane, one being kept for its scroll bar; those of the screen until it is seen.
        return max(self._panes[name].content_size.width or self.size.width, 2) - 1

    def _fill(self, name: str, text: Text, row: int | None = None) -> None:
        # Put text into a pane; with a row, so that it is seen, in the middle if it can be.
        pane = self._panes[name]
        pane.body.update(text)
        if row is not None:
            height = max(pane.content_size.height, 1)
            self.call_after_refresh(pane.scroll_to, y=max(0, row - height // 2), animate=False)

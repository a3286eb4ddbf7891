"""What the panes of the screen have in them: a snapshot (:meth:`emu.debug.view.View.snapshot`) as text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import Any

from rich.text import Text

from emu.debug.dump import dump
from emu.debug.sources import read_source
from emu.debug.view import flags

View = Mapping[str, Any]

_HERE, _CHANGED, _STOP, _FAINT, _NUMBER = "reverse", "bold yellow", "bold red", "dim", "dim"
_STATES = {"runs": "green", "host": "cyan", "wfe": "yellow", "ended": "red", "off": "dim"}
# Registers in the order in which they are looked at; those of the system follow.
_GENERAL = ("PC", "SP", "NZCV", "EL", *(f"X{number}" for number in range(31)))
_SHORT = {"SP_EL0": "SPEL0", "VBAR_EL2": "VBAR2", "TPIDR_EL2": "TPDR2"}
_SUBJECT = 16  # columns of its name in the header
CELL = 23  # columns that a register takes


def title(answer: Mapping[str, Any], case: str, busy: str) -> Text:
    """Return the header: where it is, and why it stopped, or what went wrong."""
    view, stop = answer["view"], answer["stop"]
    cpu = view["cpus"][view["cpu"]]
    text = Text(" ")
    subject = shlex.split(case)[0].rpartition("/")[2]
    text.append(f"{subject if len(subject) <= _SUBJECT else subject[: _SUBJECT - 1] + '…'} ", "bold")
    text.append(f"#{view['position']} ", "bold yellow")
    text.append(f"CPU{cpu['cpu']} {_mode(cpu)} ", "bold green")
    if view["others"] != "schedule":
        text.append(f"[others {view['others']}] ", "red")
    if busy:
        text.append(f"{busy} ... Esc stops it", "bold red")
    elif answer["error"]:
        text.append(answer["error"], "bold red")
    else:
        text.append("; ".join(stop["why"]) or _PLAIN.get(stop["reason"], "") or cpu["place"]["name"])
    return text


_PLAIN = {"start": "the start", "end": "the end"}


def _mode(cpu: Mapping[str, Any]) -> str:
    return str(cpu["mode"])


def _cut(name: str, width: int) -> str:
    # A name, or its beginning and its offset when it is longer.
    if len(name) <= width:
        return name
    symbol, plus, offset = name.rpartition("+")
    if not symbol:
        return f"{name[: width - 1]}…"
    return f"{symbol[: width - len(offset) - 2]}…{plus}{offset}"


def code(view: View, as_source: bool, width: int) -> tuple[Text, int, str]:
    """Return the code, the row of the PC in it, and a title."""
    place = view["place"]
    lines = read_source(view["path"]) if as_source else []
    if lines:
        here = int(place["line"]) - 1
        return _source(lines, here, view), here, f"{_line(place)}: {place['text']}".rstrip(" :")
    at = next((row for row, line in enumerate(view["code"]) if line["here"]), 0)
    if not view["code"]:
        return Text("no code: " + view["cpus"][view["cpu"]]["state"]), 0, place["name"] or "code"
    return _disassembly(view, width), at, " ".join(filter(None, (place["name"], _line(place))))


def _source(lines: Sequence[str], here: int, view: View) -> Text:
    stops = {line for file, line in view["marked"] if file == view["place"]["file"]}
    text = Text(no_wrap=True, overflow="crop")
    for row, line in enumerate(lines):
        text.append("b" if row + 1 in stops else " ", _STOP)
        text.append(f"{row + 1:4} ", _NUMBER)
        text.append(line.expandtabs() + "\n", _HERE if row == here else "")
    return text


def _line(place: Mapping[str, Any]) -> str:
    return f"{place['file'].rpartition('/')[2]}:{place['line']}" if place["file"] else ""


def _disassembly(view: View, columns: int) -> Text:
    text = Text(no_wrap=True, overflow="crop")
    names = [line["name"] for line in view["code"]]
    width = min(max(map(len, names), default=0), max(12, (columns - 10) * 2 // 5))
    for line in view["code"]:
        text.append("b" if line["breakpoint"] else " ", _STOP)
        text.append(f"{line['address'] & 0xFFFFFFFF:08x} ", _NUMBER)
        text.append(f"{_cut(line['name'], width):<{width}} ", _FAINT if not line["here"] else _HERE)
        text.append(line["text"] + "\n", _HERE if line["here"] else "")
    return text


def registers(view: View, changed: Collection[str], width: int) -> Text:
    """Return the general registers in as many columns as fit, those that changed marked."""
    values: dict[str, int] = view["registers"]
    if not values:
        off = view["cpus"][view["cpu"]]["state"] == "off"
        return Text("off", _FAINT) if off else _stack(view, width - 1)
    return _table(values, [name for name in _GENERAL if name in values], changed, width)


def system(view: View, changed: Collection[str], width: int) -> Text:
    """Return the system registers, in the same way; of a host task its locals."""
    values: dict[str, int] = view["registers"]
    names = [name for name in values if name not in _GENERAL]
    if not names:
        return _locals(view) if view["stack"] else Text("off", _FAINT)
    return _table(values, names, changed, width)


def _table(values: Mapping[str, int], names: Sequence[str], changed: Collection[str], width: int) -> Text:
    columns = max(1, (width + 1) // (CELL + 1))
    rows = -(-len(names) // columns)
    text = Text(no_wrap=True, overflow="crop")
    for row in range(rows):
        for name in names[row::rows]:
            style = _CHANGED if name in changed else ""
            shown = flags(values[name]) if name == "NZCV" else f"{values[name]:016x}"
            base = name.removesuffix("_EL1").removesuffix("_EL2")
            short = _SHORT[name] if name in _SHORT and (base == name or f"{base}_EL1" in names) else base
            text.append(f"{short:<5} ", style or _FAINT)
            text.append(f"{shown:<{CELL - 6}} ", style)
        text.append("\n")
    text.rstrip()
    return text


def clicked(view: View, pane: str, row: int, as_source: bool, twice: bool) -> str:
    """Return the command that a click on a row of a pane stands for; empty: none."""
    if pane == "cpus" and row < len(view["cpus"]):
        return f"cpu {view['cpus'][row]['cpu']}"
    if pane == "log" and twice and row < len(view["operations"]):
        position, _, _ = view["operations"][row].partition(" ")
        return f"goto {position.removeprefix('#')}"
    if pane == "code" and as_source and view["path"]:
        return f"toggle {view['place']['file']}:{row + 1}"
    if pane == "code" and row < len(view["code"]):
        return f"toggle {view['code'][row]['address']:#x}"
    return ""


def _stack(view: View, width: int) -> Text:
    # The functions that a host task is in, the innermost first; where each stands, if there is room.
    text = Text(no_wrap=True, overflow="crop")
    for frame in view["stack"]:
        name = frame["kernel"] or frame["name"]
        text.append(
            name if len(name) <= width else f"{name[: width - 1]}…", "" if frame["kernel"] else _FAINT
        )
        at = f" {frame['file'].rpartition('/')[2]}:{frame['line']}"
        text.append(f"{at}\n" if len(name) + len(at) <= width else "\n", _FAINT)
    text.rstrip()
    return text


def _locals(view: View) -> Text:
    # A function's name, then its locals; an inner function first.
    text, function = Text(no_wrap=True, overflow="crop"), ""
    for each in view["locals"]:
        if each["function"] != function:
            function = each["function"]
            text.append(f"{function}\n", _FAINT)
        text.append(f"  {each['name']} = {each['value']}\n")
    text.rstrip()
    return text


def cpus(view: View) -> Text:
    """Return the CPUs, the selected one marked."""
    text = Text(no_wrap=True, overflow="crop")
    for cpu in view["cpus"]:
        selected = cpu["cpu"] == view["cpu"]
        name = "-" if cpu["hwid"] < 0 else f"{cpu['hwid']:#x}"
        text.append(">" if selected else " ", "bold green")
        text.append(f"{cpu['cpu']:<3} {name:<8} ", "bold" if selected else "")
        text.append(f"{cpu['state']:<8} ", _STATES.get(cpu["state"], ""))
        mode = f"EL{cpu['el']} {'on' if cpu['mmu'] else 'off':<3}" if cpu["el"] >= 0 else "       "
        place = cpu["place"]
        at = f"{place['name']}" + (f" ({_line(place)})" if place["file"] else "")
        text.append(f"{mode}  {at}\n")
    return text


def operations(view: View, width: int) -> Text:
    """Return the last operations, the youngest last."""
    text = Text(no_wrap=True, overflow="crop")
    mine = f"CPU{view['cpu']} "
    for line in view["operations"]:
        number, _, rest = _short(line, width).partition(" ")
        text.append(f"{number} ", _NUMBER)
        text.append(rest + "\n", "" if rest.startswith(mine) else _FAINT)
    text.rstrip()
    return text


def output(lines: Sequence[str], width: int) -> Text:
    """Return what commands have said: a line that is longer than the pane goes on in the next, indented."""
    rows: list[str] = []
    for line in lines:
        short = _short(line, width)
        indent = " " * min(len(short) - len(short.lstrip()) + 4, width // 2)
        rows += wrap(short, width, subsequent_indent=indent, **_AS_IT_IS) or [""]
    return Text("\n".join(rows), no_wrap=True, overflow="crop")


_FOLDERS = re.compile(r"\(\S*/([^\s/()]+:\d+)\)")  # of FILE:LINE in brackets
_AS_IT_IS: dict[str, Any] = {"expand_tabs": False, "replace_whitespace": False, "break_on_hyphens": False}


def _short(line: str, width: int) -> str:
    # A line without the folders of files where it would be longer than the pane.
    return line if len(line) <= width else _FOLDERS.sub(r"(\1)", line)


def data(view: View, before: View | None) -> Text:
    """Return the shared words, those that changed since the last stop marked, and what is displayed."""
    old = {datum["name"]: datum["value"] for datum in before["data"]} if before else {}
    width = max((len(datum["name"]) for datum in view["data"]), default=0)
    text = Text(no_wrap=True, overflow="crop")
    was = set(before["displayed"]) if before else set()
    for line in view["displayed"]:
        text.append(f"{line}\n", _CHANGED if before and line not in was else "")
    for datum in view["data"]:
        is_new = bool(old) and old.get(datum["name"]) != datum["value"]
        text.append(f"{datum['name']:<{width}} ", _FAINT)
        text.append(f"{datum['value']:#x} ", _CHANGED if is_new else "")
        text.append(f" {datum['meaning']}\n", "italic")
    text.rstrip()
    return text


def memory(view: View, before: View | None, width: int) -> Text:
    """Return the memory that is followed, rows that changed since the last stop marked."""
    found = view["memory"]
    if found["said"]:
        return Text(found["said"], _FAINT)
    rows = _dumped(found, width)
    same = before is not None and before["memory"]["address"] == found["address"]
    was = _dumped(before["memory"], width) if before is not None and same else rows
    text = Text(no_wrap=True, overflow="crop")
    for row, old in zip_longest(rows, was[: len(rows)]):
        address, _, rest = row.partition(" ")
        text.append(f"{address} ", _NUMBER)
        text.append(f"{rest}\n", _CHANGED if row != old else "")
    text.rstrip()
    return text


def _dumped(found: Mapping[str, Any], width: int) -> list[str]:
    data = bytes.fromhex(found["data"])
    return dump(found["address"], data, found["width"], found["form"], max(width - 1, 1))


def memory_title(view: View) -> str:
    """Return what is followed, and the name of what is there."""
    found = view["memory"]
    if not found["what"]:
        return "7 memory"
    named = f" {found['name']}" if found["name"] not in ("", found["what"]) else ""
    return f"7 memory: u{8 * found['width']} {found['form']} {found['what']}{named}"


def stops(view: View) -> Text:
    """Return breakpoints and watchpoints."""
    return Text("\n".join(view["stops"]) or "none: x sets a breakpoint here, :watch DATA a watchpoint", "")

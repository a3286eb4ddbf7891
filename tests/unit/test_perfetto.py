"""The Perfetto file keeps the rules of the Trace Event Format, and shows the boot."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_ftrace import CASES, timeline_of

from emu.case import Case
from emu.report.perfetto import perfetto_json


def events_of(case: Case) -> list[dict[str, Any]]:
    found = timeline_of(case)
    written = json.loads(json.dumps(perfetto_json(found, "title", list(range(found.cpus)))))
    assert set(written) == {"displayTimeUnit", "traceEvents"}
    assert written["displayTimeUnit"] in ("ms", "ns")
    events: list[dict[str, Any]] = written["traceEvents"]
    return events


@pytest.mark.parametrize("case", CASES, ids=Case.text)
def test_each_event_is_of_the_format(case: Case) -> None:
    """Names, phases, integer IDs, times in us; instants have a scope, flows an ID and both ends."""
    events = events_of(case)
    flows: dict[int, list[dict[str, Any]]] = {}
    for event in events:
        assert isinstance(event["name"], str)
        assert event["name"]
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert event["tid"] > 0
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name", "thread_sort_index")
            assert event["args"]
            continue
        assert isinstance(event["ts"], float | int)
        assert event["ts"] >= 0
        assert isinstance(event["cat"], str)
        if event["ph"] == "X":
            assert event["dur"] >= 0
        elif event["ph"] == "i":
            assert event["s"] == "t"
        else:
            assert event["ph"] in ("s", "f")
            assert (event.get("bp") == "e") == (event["ph"] == "f")
            flows.setdefault(event["id"], []).append(event)
    slices = [event for event in events if event["ph"] == "X"]
    for start, end in flows.values():
        assert (start["ph"], end["ph"]) == ("s", "f")
        assert (start["cat"], start["name"]) == (end["cat"], end["name"])
        assert start["ts"] <= end["ts"]
        for bound in (start, end):  # an arrow is drawn between slices
            assert any(
                each["tid"] == bound["tid"] and each["ts"] <= bound["ts"] <= each["ts"] + each["dur"] + 1e-6
                for each in slices
            )


@pytest.mark.parametrize("case", CASES, ids=Case.text)
def test_slices_of_a_track_do_not_overlap(case: Case) -> None:
    ends: dict[tuple[int, str], float] = {}
    for event in events_of(case):
        if event["ph"] == "X":
            track = event["tid"], event["cat"]
            assert event["ts"] >= ends.get(track, 0) - 1e-6
            ends[track] = event["ts"] + event["dur"]
    assert {category for _, category in ends} == {"phase", "function"}


def test_a_track_for_each_cpu_and_an_arrow_from_each_kick() -> None:
    events = events_of(CASES[0])
    names = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    assert names == {1: "CPU0 0x0", 2: "CPU1 0x1", 3: "CPU2 0x2", 4: "CPU3 0x3"}
    arrows = [(e["ph"], e["tid"]) for e in events if e.get("name") == "kick" and e["ph"] in "sf"]
    assert arrows == [("s", 1), ("f", 2), ("s", 1), ("f", 3), ("s", 1), ("f", 4)]
    calls = [e["name"] for e in events if e.get("cat") == "call"]
    assert calls == [f"call CPU_ON64 x1={cpu:#x}" for cpu in (1, 2, 3)]


def test_a_wake_up_has_an_arrow_from_who_sent_the_event() -> None:
    events = events_of(CASES[1])
    assert {e["tid"] for e in events if e["ph"] == "s" and e["name"] == "wake"} == {1}
    slept = {e["tid"] for e in events if e["ph"] == "X" and e["name"] == "asleep in WFE"}
    assert slept
    assert {e["tid"] for e in events if e["ph"] == "f" and e["name"] == "wake"} >= slept

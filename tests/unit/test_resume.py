"""The file of an interrupted exploration: whatever it holds, it is read or refused in one line."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from programs import run_emu

from emu.errors import InvalidCase
from emu.explore.resume import read_resume
from emu.explore.search import Bounds, Count

FRAME = {"picks": "0x2,1", "todo": [1], "sleep": 0, "done": 1, "preemptions": 0}


def saved(**changes: Any) -> dict[str, Any]:
    """The object of a search that was interrupted in its first frames."""
    whole = {"version": 2, "case": "v3 topology=flat:2", "bounds": asdict(Bounds()), "count": asdict(Count())}
    whole |= {"learned": False, "units": [], "everything": False, "found": []}
    return {**whole, "frames": [{**FRAME, "picks": ""}, FRAME], **changes}


def refusal(tmp_path: Path, data: object) -> str:
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InvalidCase) as caught:
        read_resume(path)
    return str(caught.value).removeprefix(f"{path}: ")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(saved()))
    found = read_resume(path)
    assert (found.made_with, found.count, [frame.todo for frame in found.frames]) == (
        Bounds(),
        Count(),
        [(1,), (1,)],
    )


WRONG = (-1, 1.5, "1", None, True, [], {})


@pytest.mark.parametrize("field", ["sleep", "done", "preemptions", "todo", "picks"])
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_every_value_of_a_frame_has_its_type(field: str, value: object, tmp_path: Path) -> None:
    if (field, value) == ("picks", "1"):
        return
    data = saved(frames=[{**FRAME, field: [value] if field == "todo" else value}])
    assert refusal(tmp_path, data).startswith(f"no interrupted exploration: {field}=")


@pytest.mark.parametrize("kind", [Bounds, Count])
@pytest.mark.parametrize("value", [-1, 1.5, "1", [], {}], ids=repr)
def test_every_bound_and_count_has_its_type(kind: type, value: object, tmp_path: Path) -> None:
    part = {Bounds: "bounds", Count: "count"}[kind]
    for field in asdict(kind()):
        data = saved(**{part: {**asdict(kind()), field: value}})
        assert refusal(tmp_path, data).startswith(f"no interrupted exploration: {field}=")


@pytest.mark.parametrize(
    "data", [None, 1, [], "x", {}, {"version": 2}, saved(case=5), saved(frames={}), saved(learned=1)]
)
def test_other_json_is_refused(data: object, tmp_path: Path) -> None:
    assert "no interrupted exploration" in refusal(tmp_path, data)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"todo": [7]}, "todo=7: no actor that can go on there"),
        ({"sleep": 1 << 200}, "there are 2 actors"),
        ({"done": 1 << 2}, "there are 2 actors"),
        ({"picks": "9"}, "run 0x9: it cannot be taken"),
    ],
)
def test_what_does_not_fit_the_subject_is_refused(changes: dict[str, Any], why: str, tmp_path: Path) -> None:
    (tmp_path / "saved.json").write_text(
        json.dumps(saved(frames=[{**FRAME, "picks": "", "todo": []} | changes]))
    )
    done = run_emu("explore", "--resume", "saved.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_picks_that_fill_the_memory_are_refused(tmp_path: Path) -> None:
    picks = ",".join(["0x16000000"] * 200)
    assert "all of them together" in refusal(tmp_path, saved(frames=[{**FRAME, "picks": picks}]))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"units": [-1]}, "units=-1"),
        ({"units": ["1"]}, "units='1'"),
        ({"everything": 1}, "everything=1"),
        ({"found": [5]}, "found=5"),
        ({"found": "x"}, "found='x'"),
    ],
)
def test_what_was_followed_and_found_has_its_type(changes: dict[str, Any], why: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, saved(**changes)).startswith(f"no interrupted exploration: {why}")


@pytest.mark.parametrize(("memory", "unit"), [("caches", 3), ("caches", 0), ("coherent", 0x4050_0000)])
def test_units_that_are_none_of_the_case_are_refused(memory: str, unit: int, tmp_path: Path) -> None:
    case = f"v3 topology=flat:2 memory={memory}"
    (tmp_path / "saved.json").write_text(json.dumps(saved(case=case, frames=[], units=[unit])))
    done = run_emu("explore", "--resume", "saved.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "emu: resume: units: not those of this case\n")

"""A finding as a sequence chart: what is at fault stands out, and what to do about it stays on the screen."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from emu.case import Case
from emu.explore.confirm import confirm, confirm_shortest, shown_by
from emu.explore.explorer import explore_case
from emu.explore.search import Bounds
from emu.report.sequence import page
from emu.report.story import Part, Story, StoryStep, tell_story
from emu.schedulers.replay import parse_picks

STALE = "v3 topology=flat:3 memory=caches fault=2:no-clean"
SHARED = "mainline topology=flat:3 bringup=parallel force=1"
LOST = (
    "v2 topology=flat:3 scheduler=replay:0x24,2x26,1x5,w40202800,1x2,t0,0x4,2x7,0x4,2x3,0x9 grain=operation"
    " memory=caches fault=1:no-52bit-va"
)


def story_of(text: str, rule: str) -> Story:
    case = Case.parse(text)
    explorer, boot = explore_case(case)
    if case.scheduler.startswith("replay:"):
        found = shown_by(explorer, case, tuple(parse_picks(case.scheduler.removeprefix("replay:"))))[1]
        return next(tell_story(boot, confirm(explorer, each)) for each in found if each.finding.rule == rule)
    found = [each for each in explorer.search(Bounds()).findings if each.finding.rule == rule]
    return tell_story(boot, confirm_shortest(explorer, boot, found[0]))


def chart(story: Story) -> ElementTree.Element:
    """The drawing of the page."""
    drawn = page(story).partition("<main>")[2]
    drawn = drawn[drawn.index("<svg") : drawn.index("</svg>") + len("</svg>")]
    return ElementTree.fromstring(drawn)


def at_fault(story: Story) -> dict[Part, list[str]]:
    found: dict[Part, list[str]] = {}
    for step in story.steps:
        found.setdefault(step.part, []).append(step.text)
    return {part: texts for part, texts in found.items() if part is not Part.NONE}


@pytest.mark.parametrize(
    ("text", "rule", "fault"),
    [
        (
            STALE,
            "stale",
            {
                Part.STORE: ["store __cpu_logical_map+0x10 <- 0x2"],
                Part.LOAD: ["load __cpu_logical_map+0x10 = ~0"],
            },
        ),
        (
            SHARED,
            "arrival",
            {
                Part.STORE: ["store secondary_data <- CPU2 task"],
                Part.LOAD: ["load secondary_data = CPU2 task"],
            },
        ),
        (LOST, "lost-write", {Part.STORE: ["store __early_cpu_boot_status <- 0x102"]}),
    ],
)
def test_the_store_and_the_load_at_fault_are_those_of_the_finding(
    text: str, rule: str, fault: dict[Part, list[str]]
) -> None:
    assert at_fault(story_of(text, rule)) == fault


def test_the_store_and_the_load_at_fault_have_colours_of_their_own_and_lead_to_each_other() -> None:
    drawn = chart(story_of(STALE, "stale"))
    boxes = {group.get("class"): group for group in drawn.iter("g")}
    leads = {link.get("href"): link.find("g").get("class") for link in drawn.iter("a")}
    assert leads == {f"#{boxes['load'].get('id')}": "store", f"#{boxes['store'].get('id')}": "load"}
    assert len([path for path in drawn.iter("path") if path.get("class") == "link"]) == 1
    assert len(re.findall(r"--(store|load):", page(story_of(STALE, "stale")))) == 2 * 3  # light, dark, print


def test_lines_lie_behind_all_boxes_and_boxes_are_not_seen_through() -> None:
    story = story_of(STALE, "stale")
    order = [element.tag for element in chart(story)]
    first = min(order.index("g"), order.index("a"))
    assert "line" not in order[first:]
    assert "path" not in order[first:]
    assert "opacity" not in page(story)


def test_turns_of_the_scheduler_are_drawn_otherwise_than_lifelines_and_are_in_the_legend() -> None:
    story = story_of(SHARED, "arrival")
    kinds = [line.get("class") for line in chart(story).iter("line")]
    turns = sum(one.cpu != other.cpu for one, other in zip(story.steps, story.steps[1:], strict=False))
    assert kinds.count("life") == 3
    assert kinds.count("turn") == turns > 0
    assert "the scheduler goes to another CPU" in page(story)
    assert re.search(r"\.turn \{[^}]*stroke-dasharray", page(story))


def test_the_legend_has_what_the_chart_has_and_nothing_else() -> None:
    legend = page(story_of(LOST, "lost-write"))
    assert "the caches</span>" in legend
    assert "the store at fault" in legend
    assert "the load that it reaches" not in legend
    alone = Story("late", "late", (0,), [StoryStep(0, 0, "outcome: online", "")], "", "v3")
    assert "the scheduler goes" not in page(alone)


def test_fix_and_case_come_before_the_chart_and_stay_when_it_scrolls() -> None:
    text = page(story_of(STALE, "stale"))
    header = text[text.index("<header>") : text.index("</header>")]
    assert "<b>Fix:</b> CPU0 cleans the line" in header
    assert "emu replay 'v3 topology=flat:3" in header
    assert re.search(r"header \{ position: sticky; top: 0;", text)
    assert "header { position: static; }" in text.partition("@media print")[2]


def test_nothing_is_fetched_and_what_a_subject_is_called_cannot_become_markup() -> None:
    story = replace(story_of(STALE, "stale"), fix="<script>", case="v3 'a&b'", message="<b>")
    text = page(story)
    assert "http" not in text
    assert "src=" not in text
    assert "<script>" not in text
    assert "&lt;b&gt;" in text

"""Pictures of bring-ups in a browser: no text lies over another, three modes are seen at once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import COMMAND, Page

from emu.case import Case
from emu.compare.runs import run_all, timed
from emu.report.compared import label_of, text_of
from emu.report.lanes_svg import page as lanes_page

pytestmark = pytest.mark.skipif(
    shutil.which(COMMAND) is None, reason=f"{COMMAND} is not installed (Debian: {COMMAND})"
)
_MODES = ("serial", "split", "parallel")
_BOXES = """[...document.querySelectorAll(SELECTOR)].map(each => {
    const box = each.getBoundingClientRect();
    return [each.textContent, box.left, box.top, box.right, box.bottom];
})"""
_LIGHT, _DARK = "rgb(255, 255, 255)", "rgb(22, 24, 28)"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    found = Page(tmp_path / "profile", width=1280, height=900)
    yield found
    found.close()


def shown(page: Page, cpus: int, latency: str, folder: Path) -> None:
    cases = [timed(Case("v3", topology=f"flat:{cpus}", bringup=mode, latency=latency)) for mode in _MODES]
    runs = list(run_all(cases, 2, record=True))
    path = folder / "page.html"
    path.write_text(lanes_page(runs, [label_of(run, runs) for run in runs], list(text_of(runs))))
    page.open(path.as_uri())
    page.wait_for("document.querySelector('pre')")


def boxes(page: Page, selector: str) -> list[tuple[str, float, float, float, float]]:
    return [tuple(each) for each in page.evaluate(_BOXES.replace("SELECTOR", repr(selector)))]


@pytest.mark.parametrize(("cpus", "latency"), [(8, "kvm-128"), (192, "board-192"), (600, "x86-skl-112")])
def test_no_text_lies_over_another_and_three_modes_are_seen_at_once(
    cpus: int, latency: str, page: Page, tmp_path: Path
) -> None:
    shown(page, cpus, latency, tmp_path)
    texts = boxes(page, "svg text")
    assert len(texts) > 40
    for number, (one, left, top, right, bottom) in enumerate(texts):
        assert 0 <= left <= right <= 1280, one
        assert 0 <= top <= bottom <= 900, one
        for other, *box in texts[number + 1 :]:
            apart = right <= box[0] or box[2] <= left or bottom <= box[1] + 1 or box[3] <= top + 1
            assert apart, (one, other)
    heads = [text for text, *_ in boxes(page, "svg .head")]
    assert [head.partition(":")[0] for head in heads] == list(_MODES)


def test_each_word_is_within_a_bar_of_its_part(page: Page, tmp_path: Path) -> None:
    shown(page, 8, "kvm-128", tmp_path)
    words = boxes(page, "svg .word")
    assert {"prepare and kick", "waits for alive", "starting", "waits for the boot CPU"} <= {
        w for w, *_ in words
    }
    bars = boxes(page, "svg rect[height]")
    for word, left, _top, right, _bottom in words:
        assert any(text.startswith(word) and bar[0] <= left and right <= bar[2] for text, *bar in bars), word


@pytest.mark.parametrize(("scheme", "paper"), [("light", _LIGHT), ("dark", _DARK)])
def test_the_page_follows_the_readers_choice(scheme: str, paper: str, page: Page, tmp_path: Path) -> None:
    page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    shown(page, 4, "kvm-128", tmp_path)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper

"""Numbers with more digits than Python reads (4,300) are refused like others that are too large."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import run_emu

NINES = "9" * 5000
LITMUS = Path(__file__).parents[1] / "litmus" / "pointers.litmus"


@pytest.mark.parametrize(
    "words",
    [
        ("--fault", f"1:late:{NINES}"),
        ("--fault", f"{NINES}:late"),
        ("--device", f"pl011@{NINES}"),
        ("--hotplug", f"{NINES}:off"),
        ("--topology", f"flat:{NINES}"),
        ("--assert", f"finally [vabits_actual] == {NINES}"),
        ("--assert", f"finally hwid({NINES}):x0 == 0"),
        ("--assert", f"never cpu{NINES}@secondary_entry"),
        ("--grain", "operation", "--scheduler", f"replay:0x{NINES}"),
    ],
    ids=lambda words: words[0] if isinstance(words, tuple) else None,
)
def test_an_option_with_a_long_number_is_refused(words: tuple[str, ...]) -> None:
    done = run_emu("boot", "v3", "--cpus", "2", *words)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr[-300:]


def test_a_file_with_a_long_number_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(f"finally = {NINES}\n")
    (tmp_path / "t.litmus").write_text(LITMUS.read_text().replace("1:X0=5", f"1:X0={NINES}"))
    for words in (("boot", "v3", "--cpus", "2", "--assert", "p.toml"), ("litmus", "t.litmus", "-j", "1")):
        done = run_emu(*words, cwd=tmp_path)
        assert done.returncode == 2, done.stderr[-300:]
        assert "Traceback" not in done.stderr

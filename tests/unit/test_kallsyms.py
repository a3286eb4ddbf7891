"""Symbols of a raw Image by the program kallsyms-finder: its cache, and its failures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from emu.errors import Untestable
from emu.subject import kallsyms
from emu.subject.kallsyms import cache_dir, symbols_of_image

_TABLE = "0000000000001000 T _text\n0000000000002000 T _end\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that tables are cached in; there is no kallsyms-finder beside this interpreter."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin") + os.pathsep + os.environ["PATH"])
    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    return tmp_path / "cache" / "emu" / "kallsyms"


@pytest.fixture
def program(cache: Path, tmp_path: Path) -> Callable[[str], None]:
    """Return a function that installs a shell script as kallsyms-finder; it notes each run."""

    def install(script: str) -> None:
        path = tmp_path / "bin" / "kallsyms-finder"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\necho run >>$RUNS\n{script}\n")
        path.chmod(0o755)

    return install


def _runs(tmp_path: Path) -> int:
    runs = tmp_path / "runs"
    return len(runs.read_text().splitlines()) if runs.exists() else 0


def test_the_program_is_run_once_per_image(
    program: Callable[[str], None], cache: Path, tmp_path: Path
) -> None:
    program(f"test -s $1 && printf '{_TABLE}'")
    first = symbols_of_image(b"image", "ab12", "Image")
    second = symbols_of_image(b"image", "ab12", "Image")
    assert first.text == second.text == _TABLE.encode()
    assert _runs(tmp_path) == 1
    assert [file.name for file in cache.iterdir()] == ["ab12.map"]


def test_a_damaged_cache_entry_is_made_anew(program: Callable[[str], None], cache: Path) -> None:
    program(f"printf '{_TABLE}'")
    cache.mkdir(parents=True)
    for damaged in (b"", b"junk\n", _TABLE.encode()[:-3]):
        (cache / "ab12.map").write_bytes(damaged)
        assert symbols_of_image(b"image", "ab12", "Image").text == _TABLE.encode()


def test_a_cache_that_cannot_be_written_is_no_error(program: Callable[[str], None], cache: Path) -> None:
    program(f"printf '{_TABLE}'")
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("a file where the folder should be")
    assert symbols_of_image(b"image", "ab12", "Image").address("_end") == 0x2000


def test_the_oldest_tables_go(
    program: Callable[[str], None], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kallsyms, "_CACHED_MAX", 2)
    program(f"printf '{_TABLE}'")
    for number, name in enumerate(("a", "b", "c")):
        symbols_of_image(b"image", name, "Image")
        os.utime(cache / f"{name}.map", (number, number))
    symbols_of_image(b"image", "d", "Image")
    assert sorted(file.name for file in cache.iterdir()) == ["c.map", "d.map"]


def test_output_is_sorted_by_address(program: Callable[[str], None]) -> None:
    program("printf '0000000000002000 T b\\n0000000000001000 T a\\n'")
    assert list(symbols_of_image(b"image", "ab12", "Image")) == [("a", 0x1000), ("b", 0x2000)]


@pytest.mark.parametrize(
    ("script", "rule"),
    [
        (
            "echo first >&2; echo no kallsyms here >&2; exit 3",
            "status 3: no kallsyms here; give --system-map FILE",
        ),
        ("exit 3", "status 3: no message; give --system-map FILE"),
        ("exit 0", "found no kallsyms in it; give --system-map FILE"),
        ("echo something else", "kallsyms-finder:1: b'something else': expected .*; give --system-map FILE"),
        ("kill -9 $$", "status -9: "),
    ],
)
def test_a_failure_is_untestable_with_one_line_and_leaves_nothing(
    program: Callable[[str], None], cache: Path, script: str, rule: str
) -> None:
    program(script)
    with pytest.raises(Untestable, match=f"^some/Image: .*{rule}") as refused:
        symbols_of_image(b"image", "ab12", "some/Image")
    assert "\n" not in str(refused.value)
    assert not cache.exists()


def test_a_program_that_hangs_is_untestable(
    program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 600)

    program("exit 0")
    monkeypatch.setattr(subprocess, "run", late)
    with pytest.raises(Untestable, match="^Image: kallsyms-finder took over 600 s; give --system-map FILE$"):
        symbols_of_image(b"image", "ab12", "Image")


def test_a_program_that_cannot_start_is_untestable(program: Callable[[str], None], tmp_path: Path) -> None:
    program("")
    (tmp_path / "bin" / "kallsyms-finder").write_text("#!/no/such/interpreter\n")
    with pytest.raises(Untestable, match="^Image: kallsyms-finder: No such file or directory; "):
        symbols_of_image(b"image", "ab12", "Image")


def test_a_missing_program_is_untestable_with_the_cure(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    cure = r"make setup \(pip install '.\[kallsyms\]'\), or give --system-map FILE$"
    with pytest.raises(Untestable, match=f"^Image: no usable System.map, no kallsyms-finder: {cure}"):
        symbols_of_image(b"image", "ab12", "Image")


@pytest.mark.parametrize(
    ("value", "home", "folder"), [("/x", "/h", "/x"), ("", "/h", "/h/.cache"), ("rel", "/h", None)]
)
def test_the_cache_is_under_an_absolute_cache_home(
    value: str, home: str, folder: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XDG Base Directory Specification: a relative $XDG_CACHE_HOME is ignored."""
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", home)
    assert cache_dir() == (Path(folder) / "emu" / "kallsyms" if folder else None)


def test_kallsyms_of_a_real_kernel_agree_with_its_system_map(
    real_kernel: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tree = real_kernel("EMU_KERNEL_SMALL")
    found = set(symbols_of_image((tree / "arch/arm64/boot/Image").read_bytes(), "small", "Image"))
    listed = {
        (line.split()[2], int(line.split()[0], 16)) for line in (tree / "System.map").read_text().splitlines()
    }
    assert found <= listed
    assert len(found) > 0.9 * len(listed)

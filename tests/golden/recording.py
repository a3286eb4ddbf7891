"""Golden cases: command lines of emu and all of their outputs, as text to compare two trees by.

Each command runs in this process, in a directory of its own with the files that cases name: ``examples``,
the scripts beside this file, planted designs, and the real kernels that the environment names. Its outputs
are exit status, stdout, stderr, the JSON object, the trace and every other file that it writes.

What may differ between two runs of the same behaviour is replaced in all outputs: the line of the host's
Python files that an operation comes from, the names that a refusal lists, cases per second, the size of a
compressed file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from golden.tracefile import dump
from planting import plant
from programs import TERMINAL, run_emu

from emu.subject.fragment import asm_dir

HERE = Path(__file__).parent
CASES = HERE / "cases.toml"
RECORDED = HERE / "recorded.json"
_ROOT = asm_dir().parent  # of the tree that runs, which need not be this one
_KERNEL = re.compile(r"\bEMU_KERNEL_\w+")
# file:line of a host task, in full or without its folder, and the rest of its column in a table.
_HOST_LINE = re.compile(r"(?:[\w/]+/)?\w+\.py:\d+( ?) *")
# The names of a registry: one more is no other behaviour.
_CHOICES = re.compile(r"(?<=not one of )[^;\n]+")
# How fast this machine is, and how zlib packed a trace.
_UNCERTAIN = re.compile(r"\([\d,]+ cases/s\)|(?<= instructions, )\d+ bytes")
# A paragraph that is folded at 80 columns, so that the length of a file's name moves its line ends.
_FOLDED = re.compile(r"^(?:finding|mend|fix|also)\b.*(?:\n {2,}\S.*)*", re.MULTILINE)
_WITH_JSON = frozenset({"boot", "diff", "explore", "info", "lookup", "replay"})
_FORKS = frozenset({"step"})  # what its processes print does not come by way of ours
_FORMS = frozenset({"--json", "--ktap"})
Outputs = dict[str, str]  # name of an output: its text
Recorded = dict[str, str]  # name of an output: a prefix of the SHA-256 of its text


@dataclass(frozen=True, slots=True)
class Golden:
    """One case: a name, and the words of a command line behind ``emu``."""

    name: str
    command: str

    @property
    def kernel(self) -> str | None:
        """The environment variable that names the kernel which the case boots."""
        found = _KERNEL.search(self.command)
        return found[0] if found else None


def read_cases() -> list[Golden]:
    """Return the cases of cases.toml in its order."""
    groups = tomllib.loads(CASES.read_text())
    return [Golden(name, command) for group in groups.values() for name, command in group.items()]


def identity(variable: str) -> str | None:
    """Return which kernel the environment names: a prefix of its SHA-256; None where it names none."""
    path = os.environ.get(variable)
    if not path:
        return None
    images = [Path(path), Path(path, "vmlinux"), Path(path, "arch/arm64/boot/Image")]
    return hashlib.sha256(next(image for image in images if image.is_file()).read_bytes()).hexdigest()[:16]


def record(case: Golden, *options: str) -> Outputs:
    """Run a case, with more options, and return all that it gives."""
    with _directory() as folder:
        words = [
            _KERNEL.sub(lambda found: f"{found[0]}/{Path(os.environ[found[0]]).name}", word)
            for word in shlex.split(case.command)
        ]
        words += options
        before = set(folder.iterdir())
        traced = {"boot": ["--trace", "trace"], "trace": ["-o", "trace"]}.get(words[0], [])
        status, out, err = _emu([*words, *traced])
        outputs = {"status": f"{status}\n", "stdout": out, "stderr": err}
        if words[0] in _WITH_JSON and not _FORMS & set(words):
            again, text, _ = _emu([*words, "--json"])
            assert again == status, f"{case.command}: status {status}, with --json {again}"
            outputs["json"] = _pretty(text)
        for path in sorted(set(folder.iterdir()) - before):
            data = path.read_bytes()
            if data.startswith(b"EMUTRACE"):
                outputs[path.name] = "".join(f"{line}\n" for line in dump(data))
            else:
                outputs[path.name] = _pretty(data.decode())
    return {name: _normal(text) for name, text in outputs.items() if text}


def digests(case: Golden, outputs: Outputs) -> Recorded:
    """Return a prefix of the SHA-256 of each output, and as ``kernel`` which one booted."""
    found = {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in outputs.items()}
    return {"kernel": identity(case.kernel) or "", **found} if case.kernel else found


def read_recorded() -> dict[str, Recorded]:
    """Return the digests that recorded.json has of each case, by its name."""
    return json.loads(RECORDED.read_text()) if RECORDED.exists() else {}


def write_recorded(recorded: dict[str, Recorded]) -> None:
    """Write recorded.json, in the order of the cases."""
    names = [case.name for case in read_cases() if case.name in recorded]
    lines = [f" {json.dumps(name)}: {json.dumps(recorded[name])}" for name in names]
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _pretty(text: str) -> str:
    # The object one key a line, so that a difference shows where it is; as it came when there is none.
    try:
        return json.dumps(json.loads(text), indent=1) + "\n"
    except ValueError:
        return text


def _normal(text: str) -> str:
    def one_line(found: re.Match[str]) -> str:
        return re.sub(r"\n +", " ", found[0]) if _HOST_LINE.search(found[0]) else found[0]

    text = _CHOICES.sub("NAMES", text)
    return _UNCERTAIN.sub("N", _HOST_LINE.sub(r"*.py:*\1", _FOLDED.sub(one_line, text)))


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    # The directory that a case runs in.
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        folder = Path(name)
        (folder / "examples").symlink_to(_ROOT / "examples")
        (folder / "scripts").symlink_to(HERE / "scripts")
        for variable in os.environ:
            if _KERNEL.fullmatch(variable):
                (folder / variable).symlink_to(Path(os.environ[variable]).resolve().parent)
        _plant_all(folder)
        yield folder


def _plant_all(folder: Path) -> None:
    # The two designs of the bug gallery that no option makes.
    pen = "pen:\n        ldr     x4, [x3]                                // x4 = hwid that may go\n"
    look = pen.splitlines()[1]
    plant(folder, "v3", "boot/secondary_holding_pen", pen, f"pen:\n        wfe\n{look}\n")
    (folder / "planted.S").rename(folder / "late_look.S")
    status = "        .balign {}\n__early_cpu_boot_status:"
    plant(folder, "v3", "data/boot_data", status.format("0x800"), status.format(8))
    (folder / "planted.S").rename(folder / "shared_line.S")


def _emu(words: list[str]) -> tuple[int, str, str]:
    # Status, stdout and stderr of a command.
    done = _in_a_process(words) if words[0] in _FORKS else run_emu(*words)
    return done.returncode, done.stdout, done.stderr


def _in_a_process(words: list[str]) -> subprocess.CompletedProcess[str]:
    # The environment that changes a terminal's text is left out.
    environment = {name: value for name, value in os.environ.items() if name not in TERMINAL}
    environment["PYTHONPATH"] = str(_ROOT)
    command = [sys.executable, "-m", "emu", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

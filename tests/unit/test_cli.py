"""The command line as a user meets it: output, exit status, one line for what is wrong."""

from __future__ import annotations

import errno
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from programs import run_emu, run_program

import emu.cli
from emu.designs import DESIGNS
from emu.trace import read_trace

ROOT = Path(__file__).resolve().parents[2]


def process(*arguments: str, cwd: Path = ROOT, streams: str = "") -> subprocess.CompletedProcess[str]:
    """Run emu in a process of its own; ``streams`` are redirections as of the shell."""
    command = ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, "-m", "emu", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["boot", "--cpus", "2"], 0),
        (["boot", "mainline", "--cpus", "3", "--bringup", "parallel", "--force"], 1),
        (["boot", "v4"], 2),
        (["boot", "--colour"], 2),
        (["lookup", "mainline"], 125),
        (["boot", "--help"], 0),
    ],
)
def test_a_process_gives_what_the_command_gives_in_this_one(arguments: list[str], status: int) -> None:
    """The other tests of what commands say start no processes."""
    alone, here = process(*arguments), run_emu(*arguments)
    assert alone.returncode == status
    assert (alone.returncode, alone.stdout, alone.stderr) == (here.returncode, here.stdout, here.stderr)


def test_boot_alone_shows_eight_cpus_online() -> None:
    done = process("boot")
    assert (done.returncode, done.stderr) == (0, "")
    assert "CPU7: Booted secondary processor 0x0000000007 [0x410fd083]" in done.stdout
    assert "smp: Brought up 1 node, 8 CPUs" in done.stdout
    assert "pass: 8 of 8 CPUs online, 0 findings" in done.stdout


def test_plain_text_fits_80_columns_and_has_no_escape_codes() -> None:
    done = run_emu("boot", "mainline", "--bringup", "parallel", "--force", "--el", "2")
    table = done.stdout.split("\n\n")[1]
    assert max(map(len, table.splitlines())) <= 80
    assert "\x1b" not in done.stdout


def test_json_is_one_object_with_the_documented_keys() -> None:
    done = run_emu("boot", "rfc", "--cpus", "3", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert {"case", "verdict", "cpus", "findings", "counters", "dmesg"} <= set(found)
    assert found["verdict"] == "pass"
    assert [(cpu["cpu"], cpu["hwid"], cpu["outcome"]) for cpu in found["cpus"]] == [
        (0, 0, "online"),
        (1, 1, "online"),
        (2, 2, "online"),
    ]
    assert found["dmesg"][0] == "smp: Bringing up secondary CPUs ..."
    assert found["counters"]["instructions"] == sum(cpu["instructions"] for cpu in found["cpus"])


def test_finding_gives_exit_status_1_and_a_case_that_reproduces_it() -> None:
    first = run_emu("boot", "mainline", "--cpus", "3", "--bringup", "parallel", "--force", "--json")
    found = json.loads(first.stdout)
    assert first.returncode == 1
    assert found["verdict"] == "fail"
    assert {"rule", "message", "case"} <= set(found["findings"][0])
    again = run_emu("boot", "--case", found["findings"][0]["case"], "--json")
    assert again.stdout == first.stdout


def test_case_of_a_topology_that_has_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"cpus": [{"hwid": 0}, {"hwid": 1}]}')
    case = json.loads(run_emu("boot", "--topology", str(path), "--json").stdout)["case"]
    assert run_emu("boot", "--case", case).returncode == 0
    path.write_text('{"cpus": [{"hwid": 0}, {"hwid": 2}]}')
    done = run_emu("boot", "--case", case)
    assert done.returncode == 2
    assert "the bytes that the case was made with are gone" in done.stderr


def test_verbose_shows_firmware_calls_and_landings() -> None:
    done = run_emu("boot", "--cpus", "2", "-v")
    for line in (
        "calls CPU_ON64(x1=0x1)",
        "CPU1 starts at secondary_entry",
        "CPU1 lands at secondary_start_kernel",
    ):
        assert line in done.stdout


def test_trace_option_writes_a_readable_trace(tmp_path: Path) -> None:
    path = tmp_path / "boot.trace"
    assert run_emu("boot", "--cpus", "2", "--trace", str(path)).returncode == 0
    trace = read_trace(path)
    assert trace.case == "v3 topology=flat:2 bringup=parallel base=v3"
    assert len(trace) > 50


@pytest.mark.parametrize("design", DESIGNS)
def test_info_of_a_design_lists_fragments_and_symbols(design: str) -> None:
    found = json.loads(run_emu("info", design, "--json").stdout)
    assert found["subject"] == design
    assert "secondary_entry" in found["symbols"]
    assert run_emu("info", design).stdout.startswith("subject:")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["bot"], 2, "bot: not one of boot, compare, diff"),
        (["bot"], 2, "did you mean boot?"),
        (["help"], 2, "did you mean --help?"),
        (["boot", "--grain", "op"], 2, "did you mean operation?"),
        (["boot", "--cpu", "4"], 2, "cpu=4: not one of cortex-a53, "),
        (["boot", "--cpu", "4"], 2, "; did you mean --cpus 4?"),
        (["info", "flatt:4"], 2, "; and no topology; did you mean flat?"),
        (["info", "v33"], 2, "; did you mean v3?"),
        (["replay", "/nonexistent/case"], 2, "/nonexistent/case: no such file"),
        (["replay", "nosuch scheduler=replay:0x3"], 2, "nosuch: no such file, and no design"),
        (["boot", "--colour"], 2, "No such option '--colour'"),
        (["boot", "v4"], 2, "v4: no such file, and no design: not one of "),
        (
            ["boot", "/etc/hostname"],
            2,
            "/etc/hostname: no .S or .o file, no arm64 kernel, and no",
        ),
        (["boot", "/bin/ls"], 2, "/bin/ls: "),
        (["boot", "/nonexistent/Image"], 2, "/nonexistent/Image: no such file"),
        (["boot", "--cpus", "0"], 2, "cpus=0: NR_CPUS is 1..4096"),
        (["boot", "--cpus", "4097"], 2, "cpus=4097: NR_CPUS is 1..4096"),
        (["boot", "--cpus", "many"], 2, "'many' is not a valid integer"),
        (["boot", "--nr-cpus", "4097"], 2, "nr-cpus=4097: NR_CPUS is 1..4096"),
        (["boot", "--nr-cpus", "0"], 2, "nr-cpus=0: NR_CPUS is 1..4096"),
        (["boot", "--cpus", "8", "--topology", "flat:4"], 2, "give one of them"),
        (["boot", "--topology", "round:4"], 2, "round:4"),
        (["boot", "--boot-cpu", "8"], 2, "boot_cpu=8"),
        (["boot", "--el", "3"], 2, "el=3: not one of 1, 2"),
        (["boot", "--el", "2", "--conduit", "hvc"], 2, "conduit=hvc"),
        (["boot", "--conduit", "fax"], 2, "conduit=fax: not one of smc, hvc"),
        (["boot", "--enable-method", "telepathy"], 2, "enable-method=telepathy"),
        (
            ["boot", "--scheduler", "lottery"],
            2,
            "scheduler=lottery: not one of boot-first, pct, random",
        ),
        (["boot", "--scheduler", "random:x"], 2, "scheduler=random:x: the seed"),
        (["boot", "--grain", "sand"], 2, "grain=sand"),
        (["boot", "--memory", "weak"], 2, "memory=weak: not one of "),
        (["boot", "--latency", "none"], 2, "latency=none"),
        (["boot", "--cycle", "-1"], 2, "cycle=-1: at least 0"),
        (["boot", "--instructions-max", "0"], 2, "instructions-max=0: at least 1"),
        (["boot", "--topology", "flat:\u00b2"], 2, "flat:N"),
        (["boot", "--case", ""], 2, "begins with a subject"),
        (["boot", ""], 2, "begins with a subject"),
        (["boot", "--append", "maxcpus=2\nx"], 2, "a case is one line"),
        (["boot", "--fault", "2:late:99999999999999999999"], 2, "below 2**62"),
        (["boot", "--case", "v3 colour=red"], 2, "colour=red"),
        (["boot", "--case", "'v3"], 2, "case"),
        (["boot", "mainline", "--bringup", "parallel"], 2, "--force runs it all the same"),
        (["boot", "v3", "--enable-method", "spin-table", "--bringup", "parallel"], 2, "--force runs it"),
        (["boot", "--turn", "0"], 2, "turn=0: at least 1; leave it out for the default"),
        (["boot", "--ram", "0"], 2, "ram=0: at least 1"),
        (["boot", "--primary-max", "0"], 2, "primary-max=0: at least 1"),
        (["boot", "--boot-cpu", "-1"], 2, "boot-cpu=-1: at least 0"),
        (["boot", "--boot-cpu", "-2"], 2, "boot-cpu=-2: at least 0"),
        (["boot", "--case", "v3 turn=0"], 2, "turn=0: at least 1"),
        (["boot", "--case", "v3 nr-cpus=0"], 2, "nr-cpus=0: at least 1"),
        (["boot", "--trace", "/nonexistent/t"], 2, "/nonexistent/t"),
        (["info", "v4"], 2, "v4: no such file"),
        (["info", "v3", "--nr-cpus", "4097"], 2, "nr_cpus=4097"),
    ],
)
def test_wrong_input_is_one_line_on_stderr(arguments: list[str], status: int, says: str) -> None:
    done = run_emu(*arguments)
    assert done.returncode == status
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_text_that_does_not_assemble_is_untestable_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "bad.S").write_text("start:\n        mov     x0, #1\n        movv    x1, #2\n")
    done = run_emu("boot", "bad.S", cwd=tmp_path)
    assert done.returncode == 125
    assert done.stderr.startswith("emu: bad.S:3: ")


def test_text_without_the_boot_path_is_untestable(tmp_path: Path) -> None:
    (tmp_path / "short.S").write_text("start:\n        ret\n")
    done = run_emu("boot", "short.S", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (125, 1)
    assert "short.S: no symbol " in done.stderr


def test_failed_boot_leaves_no_trace_file(tmp_path: Path) -> None:
    assert run_emu("boot", "v4", "--trace", str(tmp_path / "t")).returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["boot"],
        ["boot", "--json"],
        ["info"],
        ["boot", "--trace", "/dev/full"],
        ["step", "v3", "--script", str(ROOT / "examples/holding-pen.emu"), "--enable-method", "spin-table"],
    ],
)
@pytest.mark.parametrize("buffered", [True, False])
def test_full_disk_is_one_line_and_status_2(
    arguments: list[str], buffered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left in the buffer is not written once more as Python ends."""
    if buffered:
        monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    else:
        monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "emu", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


_SHORT = {
    "boot": ["v3", "--cpus", "2"],
    "compare": ["v3", "--cpus", "2"],
    "diff": ["v3", "v2", "--cpus", "2"],
    "explore": ["v3", "--cpus", "2"],
    "fuzz": ["v3", "--dir", "c", "--cases", "1"],
    "gdb": ["v3", "--port", "0"],
    "info": ["v3"],
    "litmus": [str(Path(__file__).parents[1] / "litmus" / "CoRR.litmus"), "-j", "1"],
    "lookup": ["v3", "--cases", "0", "--nr-cpus", "2"],
    "replay": [
        "v3 topology=flat:3 scheduler=replay:0x29,1x23,0x2,1x8 grain=operation memory=caches fault=2:no-clean"
    ],
    "step": [
        "v2",
        "--cpus",
        "4",
        "--fault",
        "2:no-52bit-va",
        "--script",
        str(ROOT / "examples/erased-status.emu"),
    ],
    "trace": ["v3", "--cpus", "2", "-o", "t"],
}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["boot", "v4"], 2),
        (["nonsense"], 2),
        (["boot", "v3", "--cpus", "2", "--append", "unused=1"], 0),
        (["lookup", "v3", "--cases", "0", "--nr-cpus", "1", "--seed", "3"], 0),
        (["step", "v3", "--script", str(ROOT / "nowhere")], 2),
    ],
)
def test_what_cannot_be_said_on_standard_error_changes_no_status(arguments: list[str], status: int) -> None:
    """A traceback has status 1, which is a finding."""
    assert process(*arguments, streams="2>/dev/full").returncode == status


def test_a_broken_pipe_ends_a_script() -> None:
    script = str(ROOT / "examples/holding-pen.emu")
    command = [sys.executable, "-m", "emu", "step", "v3", "--enable-method", "spin-table", "--script", script]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stderr is not None
    writer.stdout.close()
    assert writer.stderr.read() == b""
    assert writer.wait() == 128 + signal.SIGPIPE


@pytest.mark.parametrize("command", emu.cli._COMMANDS)
def test_a_closed_standard_output_is_said_before_the_run(command: str, tmp_path: Path) -> None:
    """A traceback has status 1, which is a finding."""
    done = process(command, *_SHORT[command], cwd=tmp_path, streams=">&-")
    assert (done.returncode, done.stderr) == (2, "emu: standard output: Bad file descriptor\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", sorted({*emu.cli._COMMANDS} - {"fuzz", "gdb"}))
@pytest.mark.parametrize("closed", ["2>&-", "<&-", "<&- 2>&-"])
def test_a_command_does_without_the_other_streams(command: str, closed: str, tmp_path: Path) -> None:
    words = [command, *_SHORT[command]]
    done = process(*words, cwd=tmp_path, streams=closed)
    assert done.returncode == process(*words, cwd=tmp_path).returncode in (0, 1)
    assert done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    "words", [["step", "v3", "--script", "-"], ["step", "v3"], ["boot", "v3", "--input", "-"]]
)
def test_a_closed_standard_input_that_is_read_is_one_line(words: list[str]) -> None:
    done = process(*words, streams="<&-")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_broken_pipe_is_no_finding() -> None:
    writer = subprocess.Popen([sys.executable, "-m", "emu", "boot", "--cpus", "64"], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.close()
    assert writer.wait() == -signal.SIGPIPE


def test_help_lists_every_file_of_a_command_on_one_line() -> None:
    """`emu --help` imports none of them, so the list is not made of the files."""
    files = {info.name for info in pkgutil.iter_modules(emu.cli.__path__)}
    commands = {name for name in files if hasattr(importlib.import_module(f"emu.cli.{name}"), "command")}
    lines = run_emu("--help").stdout.partition("Commands:\n")[2].splitlines()
    assert {line.split()[0] for line in lines} == commands
    assert len(lines) == len(commands)
    for command in ("boot", "info"):
        assert run_emu(command, "--help").returncode == 0


NEVER = ("importlib.metadata", "subprocess", "capstone", "keystone", "textual", "emu.debug", "emu.fuzz")


@pytest.mark.parametrize(
    ("arguments", "needless"),
    [
        (["--help"], ["emu.case", "emu.registry", "rich"]),
        (["info", "v3"], ["emu.machine", "emu.host", "emu.lookup", "emu.topology", "emu.subject.kernel"]),
        (["boot", "v3", "--cpus", "2"], ["emu.explore", "emu.lookup", "emu.subject.dwarf"]),
    ],
)
def test_command_imports_nothing_that_it_does_not_use(arguments: list[str], needless: list[str]) -> None:
    """What is imported is most of the time of a short command."""
    run_emu(*arguments)  # assembles, where that is not in the cache
    program = f"import sys; from emu.cli import main\ntry: main({arguments})\nfinally: print(*sys.modules)"
    done = run_program(sys.executable, "-c", program)
    imported = set(done.stdout.splitlines()[-1].split())
    assert not imported & {*NEVER, *needless}


def test_what_the_system_says_of_memory_is_not_said_of_the_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(emu.cli.cli, "main", refuse)
    with pytest.raises(SystemExit) as ended:
        emu.cli.main(["boot"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "emu: out of memory: too little of it, or a limit (ulimit -v)\n"


def test_too_little_address_space_is_one_line_and_status_2() -> None:
    """The engine's library would end the process with a status of its own."""
    command = f"ulimit -v 800000; exec {sys.executable} -m emu boot v3 --cpus 2"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "emu: memory: an engine needs 1088 MiB of address space, and there is less (ulimit -v)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("diff", "t", "t", "--cpus", "3"), "--cpus: t and t are traces, and nothing is run; leave it out"),
        (("diff", "t", "t", "--run-grain", "operation"), "--run-grain: t and t are traces"),
        (("info", "smt:4", "--nr-cpus", "3"), "--nr-cpus: of a subject, and smt:4 is a topology"),
        (("info", "--topology", "smt:4", "--system-map", "x"), "--system-map: of a subject"),
        (("info", "v3", "--system-map", "x"), "--system-map: symbols of a kernel, and v3 is not"),
        (
            ("lookup", "v3", "--cases", "0", "--matches", "3"),
            "--matches 3 and --cases 0: it is of the random",
        ),
    ],
)
def test_an_option_that_nothing_would_look_at_is_refused(
    arguments: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    if arguments[0] == "diff":
        assert run_emu("trace", "v3", "--cpus", "1", "-o", "t", cwd=tmp_path).returncode == 0
    done = run_emu(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"emu: {says}")


def test_a_seed_of_nothing_random_is_told() -> None:
    """With more than one CPU the table changes in runs, at places that the seed chooses."""
    alone = run_emu("lookup", "v3", "--cases", "0", "--nr-cpus", "1", "--seed", "3")
    assert (alone.returncode, alone.stderr) == (0, "emu: --seed: nothing that was asked is random\n")
    assert run_emu("lookup", "v3", "--cases", "0", "--nr-cpus", "2", "--seed", "3").stderr == ""

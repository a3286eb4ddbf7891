"""What gdb, gdb through MI, and lldb make of ``emu gdb`` where it does what a gdbserver does not."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_gdb import Target, after, serving

_SECONDS = 300


@pytest.fixture
def v3(tmp_path: Path) -> Iterator[Target]:
    with serving(tmp_path, "v3", "--cpus", "4") as target:
        yield target


# -- a stop of the server's own while gdb steps -----------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "stop"),
    [
        ("monitor break find+8 if cpu == 2", "breakpoint at find+8"),
        ("monitor events mmu", "mmu: on, at mmu_on"),
        ("monitor watch __boot_cpu_mode", "watchpoint 1, __boot_cpu_mode"),
    ],
)
def test_it_ends_a_count_of_steps(v3: Target, before: str, stop: str) -> None:
    """gdb takes a SIGTRAP that nothing explains for the end of a step, and makes the next one."""
    text = v3.gdb(
        before, "break find if $_thread == 3", "continue", "delete", "stepi 3000", "echo NOW\\n", "p 1"
    )
    assert stop in text
    stepped = text.partition("[Switching to Thread 3]")[2].partition("NOW")[0]
    assert "received signal SIGINT" in stepped
    assert stepped.count("received signal") == 1, "the count is over"


def test_it_ends_next_and_until(v3: Target) -> None:
    text = v3.gdb(
        "break find if $_thread == 3",
        "continue",
        "delete",
        "monitor break scan+4 if cpu == 2",
        "echo NEXT\\n",
        "nexti 100",
        "monitor where",
        "echo UNTIL\\n",
        "until *&found",
        "monitor where",
    )
    nexti = after(text, "NEXT").partition("UNTIL")[0]
    assert nexti.count("received signal SIGINT") == 1
    assert "scan+4" in text
    assert "received signal" in after(text, "UNTIL")


def test_who_has_ended_ends_a_count_of_steps_at_once(v3: Target) -> None:
    text = v3.gdb("continue", "thread 2", "stepi 1000")
    assert text.count("No more reverse-execution history") == 2


# -- watchpoints, forwards and backwards ------------------------------------------------------------------


def test_reads_and_accesses_are_watched_both_ways(v3: Target) -> None:
    slot = "*(long *)((char *)&cpu_boot_data + 32)"
    text = v3.gdb(
        f"rwatch {slot}",
        "continue",
        "delete",
        f"awatch {slot}",
        "reverse-continue",
        "reverse-continue",
        "continue",
    )
    assert re.search(r"Thread 3 hit Hardware read watchpoint 1: .*\n\nValue = -14\d+", text)
    hits = re.findall(r"Thread (\d) hit Hardware access \(read/write\) watchpoint 2", text)
    assert hits[:2] == ["1", "1"] or hits[:2] == ["3", "1"], text
    assert "New value = 0" in text


# -- another boot -----------------------------------------------------------------------------------------


def test_a_kexec_is_crossed_both_ways(tmp_path: Path) -> None:
    """CPUs get other numbers; a word that the host clears for the second boot is a watchpoint's hit."""
    with serving(tmp_path, "v3", "--cpus", "3", "--kexec", "v3@1") as target:
        text = target.gdb(
            "break secondary_entry",
            *["continue"] * 3,
            "info threads",
            "delete",
            "watch *(char *)0x405000c8",
            "echo BACK\\n",
            "reverse-continue",
            "reverse-continue",
            "echo AHEAD\\n",
            "continue",
            "continue",
            "monitor who-wrote cpu_online[1] 2",
        )
    assert "Thread 1 (CPU0 0x1 host" in text
    back, ahead = after(text, "BACK").split("AHEAD")
    assert back.count("hit Hardware watchpoint 2") == 2
    assert "hit Hardware watchpoint 2" in ahead
    assert " copied 0x0, before: 0x1" in text


# -- connections ------------------------------------------------------------------------------------------


def test_breakpoints_of_one_who_detaches_are_gone_and_those_of_the_monitor_stay(v3: Target) -> None:
    v3.gdb("break find", "monitor break found if cpu == 3", "continue", "detach")
    text = v3.gdb("monitor info breakpoints", "continue", "monitor where", "detach")
    assert "1 break found if cpu == 3" in text
    assert "find" not in text.partition("1 break found")[0].partition("Remote")[2]
    assert "breakpoint at found" in text
    assert "CPU3" in text


def test_non_stop_is_refused_by_gdb_itself(v3: Target) -> None:
    if not shutil.which("gdb-multiarch"):
        pytest.skip("gdb-multiarch: not found (Debian: gdb-multiarch)")
    words = ["gdb-multiarch", "-nx", "-q", "-batch", "-iex", "set non-stop on", "-x", str(v3.script)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert "Non-stop mode requested, but remote does not support non-stop" in done.stderr
    assert "in ?? ()" in v3.gdb("frame", "kill"), "the server is as before"


# -- lldb -------------------------------------------------------------------------------------------------


def test_lldb_stops_steps_reads_and_detaches(v3: Target) -> None:
    if not shutil.which("lldb"):
        pytest.skip("lldb: not found (Debian: lldb)")
    address, port = v3.place
    symbols = v3.script.with_name("symbols.elf")
    words = ["lldb", "-b", "-x", "-o", f"target create --arch aarch64 {symbols}"]
    for command in (
        f"gdb-remote {address}:{port}",
        "breakpoint set -a 0x40200048",
        "continue",
        "register read pc x0",
        "stepi",
        "register read pc",
        "memory read -s8 -c2 -fx 0x40202100",
        "thread list",
        "process plugin packet monitor cpus",
        "detach",
    ):
        words += ["-o", command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    text = done.stdout
    assert "thread #2, stop reason = breakpoint 1.1" in text, text + done.stderr
    assert re.findall(r"pc = (0x\w+)", text) == ["0x0000000040200048", "0x000000004020004c"]
    assert "0x40202100: 0x0000000000000000 0x0000000000000001" in text
    assert re.search(r"1   0x1 +runs +1  off  find\+0x4 ", text), text
    assert "Process 1 detached" in text
    assert "$1 = 0x4020004c" in v3.gdb("thread 2", "p/x $pc", "kill")


# -- MI ---------------------------------------------------------------------------------------------------


def test_mi_tells_stops_threads_and_values(v3: Target) -> None:
    controller = pytest.importorskip(
        "pygdbmi.gdbcontroller", reason="pygdbmi: not installed (pip install pygdbmi)"
    )
    if not shutil.which("gdb-multiarch"):
        pytest.skip("gdb-multiarch: not found (Debian: gdb-multiarch)")
    gdb = controller.GdbController(["gdb-multiarch", "-nx", "-q", "--interpreter=mi3"])

    def ask(command: str, until: str) -> dict[str, Any]:
        found = gdb.write(command, timeout_sec=_SECONDS, raise_error_on_timeout=False, read_response=False)
        for _ in range(_SECONDS):
            found = gdb.get_gdb_response(timeout_sec=_SECONDS, raise_error_on_timeout=False)
            for answer in found:
                if answer["message"] == until:
                    payload: dict[str, Any] = answer["payload"] or {}
                    return payload
        pytest.fail(f"{command}: no {until}")

    try:
        ask(f'-interpreter-exec console "source {v3.script}"', "done")
        ask('-break-insert -c "$_thread == 3" find', "done")
        stopped = ask("-exec-continue", "stopped")
        assert (stopped["reason"], stopped["thread-id"]) == ("breakpoint-hit", "3")
        assert ask("-data-evaluate-expression $pc", "done")["value"].startswith("0x40200048")
        assert ask("-exec-next-instruction", "stopped")["reason"] == "end-stepping-range"
        assert ask("-exec-step-instruction --reverse", "stopped")["frame"]["addr"] == "0x0000000040200048"
        ask('-interpreter-exec console "monitor break scan if cpu == 2"', "done")
        ask("-break-delete", "done")
        stopped = ask("-exec-step-instruction 100", "stopped")
        assert (stopped["reason"], stopped["signal-name"]) == ("signal-received", "SIGINT")
        assert len(ask("-thread-info", "done")["threads"]) == 4
    finally:
        gdb.exit()

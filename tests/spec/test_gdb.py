"""gdb-multiarch against ``emu gdb``: what a user who debugs the boot path does."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from programs import run_program

_GDB = "gdb-multiarch"
_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and the script that connects gdb to it with symbols."""

    place: tuple[str, int]
    script: Path
    server: subprocess.Popen[str]

    def gdb(self, *commands: str) -> str:
        """Let gdb run commands after the script; return what it printed."""
        if not shutil.which(_GDB):
            pytest.skip(f"{_GDB}: not found (Debian: gdb-multiarch)")
        words = [_GDB, "-nx", "-q", "-batch", "-x", str(self.script), "-ex", "set pagination off"]
        for command in commands:
            words += ["-ex", command]
        environment = os.environ | {
            "HOME": str(self.script.parent),
            "LC_ALL": "C.UTF-8",
            "DEBUGINFOD_URLS": "",
        }
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_SECONDS, check=False, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Target]:
    """``emu gdb`` with these arguments, at a port of its own."""
    script = folder / "emu.gdb"
    command = [sys.executable, "-m", "emu", "gdb", *arguments, "--port", "0"]
    command += ["--symbols", str(folder / "symbols.elf"), "--script", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        first = server.stdout.readline()
        if not first.startswith("gdb: target remote "):
            assert server.stderr is not None
            pytest.fail(first + server.stderr.read())
        address, _, port = first.split()[-1].rpartition(":")
        assert server.stdout.readline() == f"gdb: gdb-multiarch -x {script}\n"
        try:
            yield Target((address, int(port)), script, server)
        finally:
            server.terminate()
            server.wait(60)


@pytest.fixture
def v3(tmp_path: Path) -> Iterator[Target]:
    with serving(tmp_path, "v3", "--cpus", "4") as target:
        yield target


def after(text: str, mark: str) -> str:
    """What gdb printed behind a mark that the test let it print."""
    assert mark in text, text
    return text.partition(mark)[2]


def test_breakpoints_by_name_are_hit_before_and_after_the_mmu_is_on(v3: Target) -> None:
    hits = ["continue"] * 6
    text = v3.gdb("break secondary_entry", "break __secondary_switched", *hits, "info threads", "kill")
    for cpu in (1, 2, 3):
        assert f"Thread {cpu + 1} hit Breakpoint 1.1, 0x000000004020003c in secondary_entry ()" in text
        assert f"Thread {cpu + 1} hit Breakpoint 2.2, 0xffff800080000284 in __secondary_switched ()" in text
    assert "(CPU3 0x3 EL1 mmu-on runs)" in text
    assert v3.server.wait(60) == 0, "kill ends it"


def test_threads_have_names_and_the_selected_one_has_registers(v3: Target) -> None:
    text = v3.gdb(
        "info threads",
        "break __secondary_switched",
        "continue",
        "info threads",
        "p/x $MPIDR_EL1",
        "thread 3",
        "p/x $MPIDR_EL1",
        "p/x $SCTLR_EL1 & 1",
        "p/x $cpsr",
        "p $v0.q",
        "x/2i $pc",
        "x/i __secondary_switched",
        "set remote threads-packet on",
        "info threads",
    )
    assert '"CPU0 0x0 host cpuhp_wait_for_sync_state() delayed"' in text, "as a name too, if asked for"
    assert "(CPU0 0x0 host boot_cpu())" in text
    assert "(CPU3 0x3 off)" in text
    assert "$1 = 0x80000001" in text
    assert "$2 = 0x80000002" in text
    assert "cannot" not in text.lower()


def test_system_registers_are_printed_by_their_fields(v3: Target) -> None:
    text = v3.gdb(
        "break __secondary_switched",
        "continue",
        "p $SCTLR_EL1",
        "p/x $SCTLR_EL1 & 1",
        "p $TCR_EL1",
        "p $SPSR_EL1",
        "p $MPIDR_EL1",
        "p $ZCR_EL1",
        "p $cpsr",
        "p/x $CNTVCT_EL0 == $CNTVCT_EL0",
        "info registers system",
        "monitor regs system MPIDR_EL1",
    )
    assert "$1 = [ M C SA SA0 " in text
    assert "$2 = 0x1" in text
    assert " TG1=4_KiB " in text
    assert "$5 = [ Aff0=1 Aff1=0 Aff2=0 RES1_31 Aff3=0 ]" in text
    assert "$6 = <unavailable>" in text
    assert "$7 = [ SP EL=1 F I A D " in text
    assert "$8 = 0x1" in text
    assert "\nHCR_EL2 " in text
    assert "  7:0   Aff0    0x1" in text
    assert "cannot" not in text.lower()


def test_an_instruction_has_one_breakpoint_whichever_address_is_given(v3: Target) -> None:
    text = v3.gdb("break *&secondary_entry", "continue", "p/x $pc", "continue", "info threads")
    assert text.count("secondary_entry ()") >= 2
    assert "* 3 " in text


def test_a_watchpoint_on_a_boot_data_slot_sees_the_host_forwards_and_backwards(v3: Target) -> None:
    text = v3.gdb(
        "watch *(long *)((char *)&cpu_boot_data + 32)",
        "continue",
        "info threads",
        "delete",
        "break __secondary_switched if $_thread == 3",
        "continue",
        "delete",
        "watch *(long *)((char *)&cpu_boot_data + 32)",
        "echo BACK\\n",
        "reverse-continue",
        "monitor where",
    )
    forwards = text.partition("BACK")[0]
    assert "hit Hardware watchpoint 1" in forwards
    assert "Old value = 0" in forwards
    assert "* 1    Thread 1 (CPU0 0x0 host" in forwards
    backwards = after(text, "BACK")
    assert "hit Hardware watchpoint" in backwards
    assert "New value = 0" in backwards


_STEPS = 100


def test_a_hundred_steps_back_and_forward_again_are_the_same_registers(v3: Target, tmp_path: Path) -> None:
    script = tmp_path / "walk.gdb"
    script.write_text(
        "set pagination off\nset logging file /dev/null\n"
        "break init_cpu_task if $_thread == 4\ncontinue\ndelete\n"
        "python\n"
        "def registers():\n"
        "    return gdb.execute('info registers', to_string=True)\n"
        "seen = [registers()]\n"
        f"for _ in range({_STEPS}):\n"
        "    gdb.execute('reverse-stepi', to_string=True)\n"
        "    seen.append(registers())\n"
        "back = []\n"
        f"for _ in range({_STEPS}):\n"
        "    back.append(registers())\n"
        "    gdb.execute('stepi', to_string=True)\n"
        "back.append(registers())\n"
        "print('SAME', back == seen[::-1], len(set(seen)))\n"
        "end\n"
    )
    text = v3.gdb(f"source {script}")
    line = after(text, "SAME").split()
    assert line[0] == "True", text
    assert int(line[1]) > _STEPS // 2, "the registers did change on the way"


def test_the_monitor_answers(v3: Target) -> None:
    text = v3.gdb(
        "monitor help",
        "monitor break find if cpu == 2",
        "continue",
        "monitor cpus",
        "stepi 3",
        "monitor who-wrote cpu_boot_data[2].task",
        "leave-loop",
        "monitor dmesg",
        "monitor events mmu",
        "continue",
        "go-to 10",
        "monitor position",
        "monitor findings",
        "monitor nosuch",
    )
    for expected in (
        "leave-loop",
        "breakpoint at find",
        "* 2   0x2",
        "cpu_boot_data[2].task",
        "Bringing up secondary CPUs",
        "mmu: on, at mmu_on",
        "#10 CPU",
        "never came to secondary_start_kernel",
        "nosuch: no such command",
    ):
        assert expected in text


def test_memory_and_registers_are_changed(v3: Target) -> None:
    text = v3.gdb(
        "break find if $_thread == 2",
        "continue",
        "set var $x5 = 0x1234",
        "set var *(long *)&cpu_boot_data = 77",
        "stepi",
        "p/x $x5",
        "p *(long *)&cpu_boot_data",
    )
    assert "$1 = 0x1234" in text
    assert "$2 = 77" in text


def test_one_thread_alone_is_stepped_with_scheduler_locking(v3: Target) -> None:
    text = v3.gdb(
        "break find if $_thread == 4",
        "continue",
        "delete",
        "set scheduler-locking on",
        "thread 3",
        "p/x $pc",
        "thread 4",
        "stepi 20",
        "thread 3",
        "p/x $pc",
    )
    values = [line.split()[-1] for line in text.splitlines() if line.startswith(("$1 =", "$2 ="))]
    assert len(values) == 2
    assert values[0] == values[1]


def test_a_detached_machine_stays_for_the_next_client(v3: Target) -> None:
    first = v3.gdb("break find", "continue", "reverse-stepi", "p/x $pc", "detach")
    stopped = after(first, "$1 = ").split()[0]
    second = v3.gdb("p/x $pc", "stepi", "kill")
    assert f"$1 = {stopped}" in second
    assert v3.server.wait(60) == 0


def test_a_client_that_is_cut_off_or_says_nonsense_does_no_harm(v3: Target) -> None:
    for nonsense in (b"$c#63", b"$g#00", b"GET / HTTP/1.1\r\n\r\n", b"$" + b"m" * 100_000):
        with socket.create_connection(v3.place) as client:
            client.sendall(nonsense)
    assert "CPU3 0x3" in v3.gdb("info threads", "kill")


def test_a_client_may_go_at_any_byte(v3: Target) -> None:
    """In order, so that the answer to it resets the connection and the next one has nobody; or by a reset."""
    talk = b"$qSupported#37+$g#67+$m0,100#5f+$bs#d5+$vCont;c#a8"
    for length in range(1, len(talk) + 1):
        with socket.create_connection(v3.place) as client:
            linger = struct.pack("ii", length % 2, 0)  # 1: by a reset
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.sendall(talk[:length])
    with socket.create_connection(v3.place, timeout=60) as client:
        client.sendall(b"$qC#b4")
        assert client.recv(1) == b"+"
    assert v3.server.poll() is None


def test_a_kernel_stops_on_both_sides_of_the_mmu(tmp_path: Path, real_kernel: Callable[[str], Path]) -> None:
    image = real_kernel("EMU_KERNEL_612")
    with serving(tmp_path, str(image), "--cpus", "4") as target:
        text = target.gdb(
            "break secondary_entry",
            "break __secondary_switched",
            "continue",
            "x/i __secondary_switched",
            "continue",
            "info threads",
            "reverse-continue",
            "continue",
            "delete",
            "watch *(long *)&secondary_data",
            "continue",
            "kill",
        )
    assert "Thread 2 hit Breakpoint 1" in text
    assert "Thread 2 hit Breakpoint 2" in text
    assert "* 2    Thread 2 (CPU1 0x1 EL1 mmu-on runs)" in text
    assert "hit Hardware watchpoint 3" in text


@pytest.mark.parametrize("el", ["1", "2"])
def test_the_newest_kernel_from_its_entry_to_the_end(
    tmp_path: Path, real_kernel: Callable[[str], Path], el: str
) -> None:
    """Break, step, back, and on until nobody can go on."""
    place = r'printf "+%d EL%d\n", (long)$pc & 4095, ($cpsr >> 2) & 3'
    image = real_kernel("EMU_KERNEL_NEWEST")
    with serving(tmp_path, str(image), "--cpus", "3", "--el", el) as target:
        text = target.gdb(
            "tbreak secondary_entry",
            "break __secondary_switched",
            "continue",
            place,
            "stepi",
            place,
            "reverse-stepi",
            place,
            "continue",
            place,
            "stepi",
            "reverse-continue",
            "info threads",
            "delete",
            "continue",
            "info threads",
            "monitor findings",
            "kill",
        )
    assert "Thread 2 hit Temporary breakpoint 1" in text
    first, second, again, switched = re.findall(r"^\+(\d+) EL(\d)$", text, re.MULTILINE)
    assert first == again != second
    assert first[1] == el
    assert switched[1] == "1"  # cortex-a72 has no VHE
    assert text.count("Thread 2 hit Breakpoint 2") == 2  # there and back
    behind = after(text, "No more reverse-execution history")
    assert "nobody can go on" in text
    assert len(re.findall(r"\(CPU\d 0x\d host (boot_cpu|do_idle)\(\)", behind)) == 3, behind


def test_the_script_can_be_had_without_a_server(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "emu", "gdb", "v3", "--print-script"]
    done = run_program(*command, "--symbols", tmp_path / "s")
    assert done.stdout.endswith("target remote 127.0.0.1:1234\n")
    assert (tmp_path / "s").read_bytes()[:4] == b"\x7fELF"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "emu: --print-script: needs --symbols FILE, which the script loads\n"


def test_a_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "emu", "gdb", "v3", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("emu: --listen 127.0.0.1 --port ")
    assert done.stderr.count("\n") == 1


def test_nothing_is_left_when_the_server_is_ended(tmp_path: Path) -> None:
    with serving(tmp_path, "v3", "--cpus", "4") as target:
        target.gdb("break find", "continue", "reverse-stepi", "detach")
        place = target.place
        target.server.terminate()
        target.server.wait(60)
    for _ in range(200):
        try:
            with socket.create_connection(place, timeout=5):
                pass
        except OSError:
            return
    pytest.fail("something still listens")


@pytest.mark.parametrize("travels", [False, True])
def test_an_interrupt_sent_to_the_command_alone_ends_it(travels: bool, tmp_path: Path) -> None:
    """Not by Ctrl-C, which all of its processes get; the debugger is another one, and after travels again."""
    with serving(tmp_path, "v3", "--cpus", "2") as target:
        if travels:
            target.gdb("break find", "continue", "reverse-stepi", "detach")
        target.server.send_signal(signal.SIGINT)
        assert target.server.wait(60) == 130
        assert target.server.stderr is not None
        assert target.server.stderr.read().strip() == "emu: interrupted"


def test_a_kernel_that_boots_by_itself_has_a_thread_for_each_cpu(
    tmp_path: Path, real_kernel: Callable[[str], Path]
) -> None:
    """At full speed to breakpoints and watchpoints on any CPU, forwards and backwards."""
    image = real_kernel("EMU_KERNEL_SMALL")
    with serving(tmp_path, str(image), "--depth", "whole", "--cpus", "3", "--from", "smp_init") as target:
        said = target.gdb(
            "break *secondary_start_kernel",
            "continue",
            "continue",
            "info threads",
            "backtrace",
            "stepi",
            r'printf "+%d\n", (long)$pc - (long)&secondary_start_kernel',
            "reverse-stepi",
            r'printf "+%d\n", (long)$pc - (long)&secondary_start_kernel',
            "reverse-continue",
            "thread",
            "delete",
            "watch *(unsigned long *)&__cpu_online_mask",
            "continue",
            "backtrace 3",
            "monitor who-wrote __cpu_online_mask",
            "kill",
        )
    assert "in smp_init ()" in said
    assert re.search(r"\* 3 +Thread 3 \(CPU2 0x2 EL1 mmu-on runs\).* secondary_start_kernel \(\)", said)
    assert re.search(r"  1 +Thread 1 \(CPU0 0x0 EL1 mmu-on runs\).* __arm_smccc_smc \(\)", said)
    assert re.search(r"  2 +Thread 2 \(CPU1 0x1 EL1 mmu-on wfi\).* cpu_do_idle \(\)", said)
    assert re.search(r"#1 .*__secondary_switched", said)
    assert re.findall(r"^\+(\d+)$", said, re.MULTILINE) == ["4", "0"]
    assert "[Current thread is 2 (Thread 2)]" in said
    assert "Old value = 1\nNew value = 3" in said
    assert re.search(r"#0 .* set_cpu_online \(\)\n#1 .* secondary_start_kernel \(\)", said)
    assert "CPU1 stored 0x3, before: " in said


@pytest.mark.parametrize("more", [[], ["break *(&secondary_start_kernel+4)"]])
def test_gdb_goes_on_from_where_the_host_takes_over_and_comes_back_to_it(v3: Target, more: list[str]) -> None:
    """Each CPU comes there once: behind it its PC is another, at none of gdb's breakpoints."""
    said = v3.gdb(
        *more,
        "break *&secondary_start_kernel",
        *["continue"] * 4,
        "thread 3",
        "stepi",
        r"echo \nBACK\n",
        *["reverse-continue"] * 4,
        "kill",
    )
    forwards, backwards = (
        re.findall(r"^Thread (\d) hit Breakpoint", part, re.MULTILINE) for part in said.split("\nBACK\n")
    )
    assert (forwards, backwards) == (["2", "3", "4"], ["4", "3", "2"]), said


def test_memory_that_gdb_keeps_is_what_is_there_after_each_command_of_the_monitor(v3: Target) -> None:
    """The script lets gdb keep what it has read while nothing runs."""
    place = "*(unsigned *)&__boot_cpu_mode"
    text = v3.gdb(
        "tbreak *&__secondary_switched",
        "continue",
        f"p/x {place}",
        "monitor set u32[__boot_cpu_mode] = 0x123",
        f"p/x {place}",
        "monitor until set_cpu_boot_mode_store cpu 1",
        "monitor step 1",
        f"p/x {place}",
        "go-to 0",
        f"p/x {place}",
    )
    assert re.findall(r"^\$\d+ = (\w+)$", text, re.MULTILINE) == ["0xe11", "0x123", "0xe11", "0xe11"]

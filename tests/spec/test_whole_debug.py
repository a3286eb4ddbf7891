"""``emu step`` and ``emu gdb`` at the whole depth: forwards, backwards, and the same run as ``emu boot``."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from emu.case import Case
from emu.debug.commands import Commands
from emu.debug.opening import session_of, target_of
from emu.debug.returning import step_out
from emu.debug.stops import EVENTS
from emu.debug.whole import session as whole_session
from emu.host.whole.boot import build_whole

Kernel = Callable[[str], Path]

TRAVEL = """
import hashlib, random, sys
from emu.case import Case
from emu.debug.checkpoints import Travelled, with_checkpoints
from emu.debug.opening import session_of, target_of
from emu.debug.view import View
from emu.host.whole.boot import build_whole

CASE = Case(sys.argv[1], topology="flat:3", depth="whole")

def state(machine):
    pes, times = [actor.pe for actor in machine.actors], [actor.time for actor in machine.actors]
    cpus = [(pe.counters.instructions, pe.pc, list(pe.x)) for pe in pes], times
    return hashlib.sha256(machine.memory.view).hexdigest(), cpus

def debugger(checkpoints):
    session = session_of(target_of(CASE), checkpoints)
    travelled, seen, jumps, draw = None, {}, 0, random.Random(4)
    def note():
        found = state(session.machine)
        assert seen.setdefault(session.position, found) == found, f"#{session.position} differs"
    while True:
        try:
            if travelled is None:
                session.begin()
            else:
                seen, jumps, draw = session.arrive(travelled.target, travelled.payload)
                assert session.position == travelled.target
                note()
            while jumps < 12:
                jumps += 1
                target = draw.choice((draw.randrange(6_150_000), draw.randrange(5_800_000, 6_150_000)))
                if target < session.position:
                    session.go_back(target, (seen, jumps, draw))
                session.run_to(target)
                note()
                session.step(session.machine.current)
                note()
            session.go_on()
            break
        except Travelled as back:
            travelled = back
    assert session.ended
    whole = build_whole(CASE)
    whole.run()
    assert state(session.machine) == state(whole.machine)
    print(len(seen), "positions")
    return 0

sys.exit(with_checkpoints(debugger, sys.stdout.flush))
"""


def run(kernel: Path | str, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a script on a kernel, from standard input; its commands are separated by semicolons."""
    command = [sys.executable, "-m", "emu", "step", str(kernel), *options, "--script", "-"]
    lines = script.replace("; ", "\n")
    return subprocess.run(command, input=lines, capture_output=True, text=True, check=False)


def step(kernel: Path, script: str, *options: str, cpus: int = 3, status: int = 0) -> str:
    """Return what a script says."""
    done = run(kernel, script, "--depth", "whole", "--cpus", str(cpus), *options)
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout


def said(text: str, command: str, nth: int = 0) -> list[str]:
    """Return the lines that a command printed, the ``nth`` time that it was given."""
    parts = [part.splitlines() for part in text.split("(emu) ")[1:]]
    return [part[1:] for part in parts if part[0] == command][nth]


def test_what_is_gone_back_to_is_what_was_there_and_the_end_is_that_of_a_boot(real_kernel: Kernel) -> None:
    """Memory and registers of all CPUs, at positions drawn forwards and backwards."""
    kernel = str(real_kernel("EMU_KERNEL_SMALL"))
    done = subprocess.run([sys.executable, "-c", TRAVEL, kernel], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) >= 12


def test_a_breakpoint_stops_each_cpu_that_gets_there_backwards_too(real_kernel: Kernel) -> None:
    text = step(
        real_kernel("EMU_KERNEL_SMALL"),
        "break secondary_entry; break secondary_start_kernel+8; continue; continue; continue; continue; "
        "continue; rcontinue; rcontinue; rcontinue; rcontinue; rcontinue; delete 1; delete 2; "
        "break secondary_start_kernel cpu 2; continue; backtrace",
    )
    places = [(place, cpu) for cpu in (1, 2) for place in ("secondary_entry", "secondary_start_kernel+8")]
    stops = [said(text, "continue", at) for at in range(4)]
    assert [stop[0].split(": ")[1] for stop in stops] == [f"{place}, CPU{cpu}" for place, cpu in places]
    assert said(text, "continue", 4)[0] == "the end: it has come to 'smp: Brought up'"
    back = [said(text, "rcontinue", at) for at in range(5)]
    assert back[:4] == stops[::-1]
    assert back[4][0] == "the start of the session"
    (line,) = said(text, "continue", 5)[1:]
    assert re.match(r"#\d+ CPU2 EL1 MMU on  secondary_start_kernel", line)
    frames = said(text, "backtrace")
    assert frames[0].endswith("secondary_start_kernel")
    assert "__secondary_switched" in frames[1]


def test_who_wrote_a_word_last_and_before_that(real_kernel: Kernel) -> None:
    """Linux v6.12 kernel/cpu.c, set_cpu_online(): each CPU sets its own bit as it comes up."""
    text = step(
        real_kernel("EMU_KERNEL_SMALL"),
        "continue; who-wrote __cpu_online_mask 4; watch __cpu_online_mask; rcontinue; step; "
        "x __cpu_online_mask; back; x __cpu_online_mask",
    )
    lines = said(text, "who-wrote __cpu_online_mask 4")
    stores = [line.split(" ", 3)[3] for line in lines if " stored " in line]
    assert stores == [
        "CPU2 stored 0x7, before: 0x3",
        "CPU1 stored 0x3, before: 0x1",
        "CPU0 stored 0x1, before: as at the start",
    ]
    assert all("set_cpu_online+0x" in line for line in lines if line.startswith("    at "))
    position = lines[1].split()[0]
    assert said(text, "rcontinue")[1].startswith(f"{position} CPU2 ")
    assert [said(text, "x __cpu_online_mask", at)[0].split(": ")[1] for at in (0, 1)] == [
        "0x0000000000000007",
        "0x0000000000000003",
    ]


def test_other_goes_by_turns_to_the_first_instruction_of_another_cpu(
    real_kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instruction at a time it took a minute to where the first secondary comes up."""
    case = Case(str(real_kernel("EMU_KERNEL_SMALL")), topology="flat:2", depth="whole")
    session = session_of(target_of(case))
    pieces: list[int] = []
    one = session._piece  # type: ignore[attr-defined]
    monkeypatch.setattr(session, "_piece", lambda most: pieces.append(most) or one(most))
    session.step(0)
    assert session.until_other().cpu == 1
    last = session.position - 1
    assert [session.log.stepped(at)[0] for at in (1, last // 2, last - 1, last)] == [0, 0, 0, 1]
    assert session.pe(1).counters.instructions == 1
    assert len(pieces) < session.position // 1000


def test_steps_of_one_cpu_while_the_others_stand_or_go_on(real_kernel: Kernel) -> None:
    text = step(
        real_kernel("EMU_KERNEL_SMALL"),
        "break secondary_start_kernel cpu 1; continue; delete 1; others stand; step 5; where; back 5; where; "
        "goto 5900000; cpu 1; step; cpu 0; step 3",
    )
    first = int(said(text, "continue")[1].split()[0][1:])
    assert said(text, "where")[0].startswith(f"#{first + 5} CPU1 ")
    assert said(text, "where", 1)[0].startswith(f"#{first} CPU1 EL1 MMU on  secondary_start_kernel:")
    assert said(text, "step 3")[-1].startswith("#59000")


def test_it_begins_where_from_says(real_kernel: Kernel) -> None:
    kernel = real_kernel("EMU_KERNEL_SMALL")
    text = step(kernel, "where; step; rcontinue; goto 0", "--from", "smp_init", cpus=2)
    (line,) = said(text, "where")
    assert re.match(r"#5\d{6} CPU0 EL1 MMU on  smp_init:", line)
    assert said(text, "rcontinue")[1] == said(text, "goto 0")[-1] == line
    done = run(kernel, "where", "--depth", "whole", "--from", "nowhere")
    assert (done.returncode, done.stderr) == (2, "emu: from=nowhere: no symbol of the kernel\n")
    done = run("v3", "where", "--from", "smp_init")
    assert (done.returncode, done.stderr) == (2, "emu: --from: --depth whole alone has that\n")


def test_operations_are_not_kept_and_are_refused(real_kernel: Kernel) -> None:
    for command in ("op", "back-op"):
        done = run(real_kernel("EMU_KERNEL_SMALL"), command, "--depth", "whole")
        assert done.returncode == 2
        assert "operations are not kept at depth whole" in done.stderr


@pytest.mark.parametrize(
    ("script", "says", "status"),
    [
        ("tbreak panic; continue; where; backtrace 4", "panic", 0),
        ("break kernel_init; continue; finish; dmesg", "Kernel panic", 1),
        ("watch __cpu_online_mask change; continue; continue; info breakpoints", "(2 hits)", 0),
        ("events power-on; continue; cpus", "* 1   0x1          runs", 0),
        ("break set_cpu_online cpu 1; continue; finish; where", "secondary_start_kernel+", 0),
    ],
)
def test_commands_of_every_depth_work_here_too(
    script: str, says: str, status: int, real_kernel: Kernel
) -> None:
    kernel = real_kernel("EMU_KERNEL_SMALL")
    text = step(kernel, script, "--until", "what no kernel says", cpus=2, status=status)
    assert says in text.rpartition("(emu) ")[2]


def test_views_of_a_kernel_that_boots_by_itself(real_kernel: Kernel) -> None:
    """Translation, registers, stack, state, memory by expressions, and a change that time travel keeps."""
    text = step(
        real_kernel("EMU_KERNEL_SMALL"),
        "break cpuhp_online_idle; continue; walk sp; vas sp; regs system TCR_EL1; stack 8; state; "
        "state cpu 2; x sp 2; x text linux_banner 13; set x19 = 0x77; back; step; print x19; "
        'search "Linux version"; walk 0xffff000000000000; regs system SCTLR_EL1 cpu 2',
        "--from",
        "start_kernel",
    )
    walk = said(text, "walk sp")
    assert walk[0].split(": ")[1].startswith("EL1&0 by TTBR1_EL1 0x")
    assert [line.split(" at ")[0] for line in walk if " at " in line] == [f"  level {n}" for n in range(4)]
    assert any(row.split()[0] == f"{walk[0].split()[1]}" for row in said(text, "vas sp")[1:])
    assert "  31:30 TG1    0x2    4 KiB" in said(text, "regs system TCR_EL1")
    assert any(line.endswith("  kernel_init") for line in said(text, "stack 8"))
    assert "power           on; AFFINITY_INFO says ON" in said(text, "state")
    assert "power           off; AFFINITY_INFO says OFF" in said(text, "state cpu 2")
    assert said(text, "x sp 2")[0].split(": ")[1] == said(text, "stack 8")[0].split(": ")[1].split("  <-")[0]
    assert said(text, "x text linux_banner 13")[0].endswith('"Linux version"...')
    assert said(text, "print x19") == ["0x77 (119)"]
    assert any(line.endswith(" linux_banner") for line in said(text, 'search "Linux version"'))
    assert said(text, "walk 0xffff000000000000")[-1].startswith("PA 0x40000000")


def test_until_stops_there_whoever_comes(real_kernel: Kernel) -> None:
    text = step(
        real_kernel("EMU_KERNEL_SMALL"),
        "until start_kernel; until secondary_entry; others stand; until secondary_start_kernel cpu 2; "
        "others; until panic",
    )
    places = {
        "until start_kernel": "CPU0 EL1 MMU on  start_kernel:",
        "until secondary_entry": "CPU1 EL1 MMU off  secondary_entry:",
        "until secondary_start_kernel cpu 2": "CPU2 EL1 MMU on  secondary_start_kernel:",
    }
    for command, place in places.items():
        (line,) = said(text, command)
        assert line.split(" ", 1)[1].startswith(place)
    assert said(text, "others") == ["the others: stand"]
    end = "the end: no CPU comes to panic from here on; it has come to 'smp: Brought up'"
    assert said(text, "until panic")[0] == end


def test_the_words_that_a_kernel_s_boot_path_shares_are_told_apart(real_kernel: Kernel) -> None:
    case = Case(str(real_kernel("EMU_KERNEL_SMALL")), topology="flat:2", depth="whole")
    commands = Commands(session_of(target_of(case), None))
    commands.run("continue")
    rows = commands.run("x __boot_cpu_mode")
    assert [row.partition(": ")[2] for row in rows] == ["0x00000e11  EL1"] * 2
    assert "__early_cpu_boot_status       0x0  success" in commands.run("data")
    case = Case(str(real_kernel("EMU_KERNEL_RFC")), topology="flat:2", depth="whole")
    commands = Commands(session_of(target_of(case), None))
    commands.run("continue")
    task = next(row for row in commands.run("data") if row.startswith("cpu_boot_data[1].task"))
    assert int(task.split()[1], 16) >> 63, "the idle task that CPU1 has started with"


def test_until_and_finish_have_a_bound_of_their_own(
    real_kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They say where CPUs are then, and given again they go on."""
    case = Case(str(real_kernel("EMU_KERNEL_SMALL")), topology="flat:2", depth="whole")
    session = session_of(target_of(case), None)
    session.add_breakpoint("start_kernel")
    assert session.go_on().reason == "breakpoint"
    session.settings.breakpoints.clear()
    monkeypatch.setattr(whole_session, "ARRIVE_INSTRUCTIONS", 1000)
    for way in (partial(step_out, session), session.go_on_for):
        before = session.position
        stop = way(0)
        assert session.position == before + 1000
        assert stop.text.startswith("not there after 1000 steps")


def test_events_that_a_free_run_does_not_see_are_refused(real_kernel: Kernel) -> None:
    kernel = real_kernel("EMU_KERNEL_SMALL")
    for event in ("wfe", "land"):
        done = run(kernel, f"events {event}", "--depth", "whole")
        assert done.returncode == 2
        assert f"{event}: not seen at depth whole; " in done.stderr
        assert done.stderr.count("\n") == 1
    text = step(kernel, "events all")
    lines = said(text, "events all")
    on = {line.split()[1] for line in lines if line.startswith("*")}
    assert on == {"exception", "call", "power-on", "log", "mmu", "el"}
    assert "* exception (not interrupts, at depth whole: break at their vector, el1h_64_irq)" in lines


def test_a_caller_whose_last_instruction_is_the_call_is_named(real_kernel: Kernel) -> None:
    """secondary_start_kernel() ends in a call that does not return; behind it another function begins."""
    text = step(real_kernel("EMU_KERNEL_SMALL"), "until cpu_do_idle cpu 1\nbacktrace")
    names = [line.split()[2].partition("+")[0] for line in said(text, "backtrace")]
    assert names[-3:] == ["cpu_startup_entry", "secondary_start_kernel", "__secondary_switched"]


def test_each_switch_of_an_mmu_and_of_an_el_stops_it(real_kernel: Kernel) -> None:
    """As single steps find them: up to the kernel's own primary, entered at EL2, behind its call of HVC."""
    case = Case(str(real_kernel("EMU_KERNEL_SMALL")), topology="flat:2", el=2, depth="whole")
    steps, end = session_of(target_of(case), None), 72_000
    pe, found, mode = steps.pe(0), [], (2, False)
    while steps.position < end:
        steps.step(0)
        if mode != (pe.el, pe.mmu_on):
            mode = pe.el, pe.mmu_on
            found.append((steps.position, *mode))
    assert len({(el, mmu) for _, el, mmu in found}) == 3
    session, stops = session_of(target_of(case), None), []
    session.settings.events = {EVENTS["mmu"], EVENTS["el"]}
    while (stop := session.go_on()).reason == "event" and session.position < end:
        stops.append((session.position, session.pe(0).el, session.pe(0).mmu_on))
        assert stop.cpu == 0
    assert stops == found


def test_those_events_change_nothing_of_a_boot(real_kernel: Kernel) -> None:
    case = Case(str(real_kernel("EMU_KERNEL_SMALL")), topology="flat:3", depth="whole")
    plain, watched = (session_of(target_of(case), None) for _ in range(2))
    assert plain.go_on().reason == "end"
    watched.settings.events = {EVENTS["mmu"], EVENTS["el"]}
    told = []
    while (stop := watched.go_on()).reason == "event":
        told.append((stop.cpu, stop.text.partition(",")[0]))
    assert told == [(cpu, "mmu: on") for cpu in range(3)]
    assert watched.position == plain.position
    assert [list(watched.pe(cpu).x) for cpu in range(3)] == [list(plain.pe(cpu).x) for cpu in range(3)]
    assert watched.machine.memory.view == plain.machine.memory.view


@pytest.mark.parametrize("name", ["power-on", "call", "log"])
def test_events_that_it_sees_stop_it_at_the_first_of_the_trace(name: str, real_kernel: Kernel) -> None:
    """As in the trace of a boot without a debugger: the same CPU first."""
    kernel = real_kernel("EMU_KERNEL_SMALL")
    whole = build_whole(Case(str(kernel), topology="flat:3", depth="whole"))
    whole.run()
    rows = map(whole.machine.trace.row, range(len(whole.machine.trace)))
    # The session begins behind CPU0's own power-on.
    cpu = next(row[2] for row in rows if row[0] == EVENTS[name] and (row[2] or name != "power-on"))
    text = step(kernel, f"events {name}; continue")
    assert said(text, "continue")[0].startswith(f"CPU{cpu}: {name}: ")


def test_a_line_of_the_log_is_seen_soon_behind_its_printk(real_kernel: Kernel) -> None:
    """Before smp_init() too, where a CPU that nobody looks at has turns of a million instructions."""
    kernel = real_kernel("EMU_KERNEL_SMALL")
    stored, seen = (
        int(said(step(kernel, f"{command}; continue"), "continue")[1].split()[0].removeprefix("#"))
        for command in ("break prb_final_commit", "events log")
    )
    assert 0 < seen - stored <= 20_000


@pytest.mark.parametrize("gic", ["gicv3", "gicv2"])
def test_the_cpu_interface_of_a_gicv3_is_among_the_system_registers(gic: str, real_kernel: Kernel) -> None:
    """What the kernel has set it to, of a CPU that is up (arch/arm64 with priority masking: 0xf0)."""
    kernel = real_kernel("EMU_KERNEL_SMALL")
    commands = "continue\ncpu 1\nprint ICC_PMR_EL1\nprint ICC_IGRPEN1_EL1.Enable\nprint ICC_RPR_EL1"
    done = run(kernel, commands, "--depth", "whole", "--cpus", "2", "--gic", gic)
    if gic == "gicv2":
        assert done.returncode == 2
        return
    assert done.returncode == 0, done.stderr
    assert said(done.stdout, "print ICC_PMR_EL1")[0].split()[0] == "0xf0"
    assert said(done.stdout, "print ICC_IGRPEN1_EL1.Enable")[0].split()[0] == "0x1"
    assert said(done.stdout, "print ICC_RPR_EL1")[0].split()[0] == "0xff"

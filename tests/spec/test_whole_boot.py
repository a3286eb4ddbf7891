"""``emu boot --depth whole``: a kernel boots by itself, deterministically, and its end has a status."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import run_emu

from emu.arch.sysreg import CNTHCTL_EL2
from emu.case import Case
from emu.errors import InvalidCase
from emu.explore.whole import checkpoint, explore_whole, run_from, vary
from emu.host.whole.boot import WholeBoot, build_whole
from emu.host.whole.ending import How
from emu.operation import Expect, Kind
from emu.outcome import ONLINE
from emu.rules import judge

Kernel = Callable[[str], Path]
CONSOLE = "earlycon keep_bootcon"
EXAMPLES = Path(__file__).parents[2] / "examples"


def build(kernel: Path, cpus: int, **values: object) -> WholeBoot:
    """Return a boot of ``kernel`` on so many CPUs."""
    return build_whole(Case(str(kernel), topology=f"flat:{cpus}", depth="whole", **values))  # type: ignore[arg-type]


def log(boot: WholeBoot) -> str:
    """Return the lines of its log."""
    boot.read_log()
    return "\n".join(line.text for line in boot.lines)


@pytest.mark.parametrize("gic", ["gicv2", "gicv3"])
@pytest.mark.parametrize("el", [1, 2])
def test_a_small_kernel_brings_its_cpus_up_by_itself(gic: str, el: int, real_kernel: Kernel) -> None:
    """Linux v6.12 kernel/smp.c, smp_init(); the log of a kernel without a console is in its ring."""
    boot = build(real_kernel("EMU_KERNEL_SMALL"), 4, gic=gic, el=el)
    assert boot.run() is How.REACHED
    lines = log(boot)
    assert "smp: Brought up 1 node, 4 CPUs" in lines
    assert lines.count("Booted secondary processor") == 3
    assert ("GICv3: CPU3: found redistributor 3" in lines) == (gic == "gicv3")
    counts = [actor.pe.counters.instructions for actor in boot.machine.actors]
    assert 5_000_000 < counts[0] < 8_000_000
    assert all(50_000 < count < 120_000 for count in counts[1:])


@pytest.mark.parametrize(
    "variable", ["EMU_KERNEL_612", "EMU_KERNEL_61", "EMU_KERNEL_16K", "EMU_KERNEL_NEWEST"]
)
def test_a_kernel_of_debians_brings_its_cpus_up_on_its_console(variable: str, real_kernel: Kernel) -> None:
    boot = build(real_kernel(variable), 3, append=CONSOLE)
    assert boot.run() is How.REACHED
    assert boot.lines[-1].text.endswith("smp: Brought up 1 node, 3 CPUs")
    assert [line.time for line in boot.lines] == sorted(line.time for line in boot.lines)


@pytest.mark.parametrize("choices", [{}, {"gic": "gicv2"}, {"el": 2}], ids=["gicv3", "gicv2", "el2"])
def test_acpi_tables_tell_of_cpus_and_devices(choices: dict[str, object], real_kernel: Kernel) -> None:
    """MADT, GTDT and SPCR: the CPUs are up, timers tick, and the console of the SPCR prints it."""
    boot = build(real_kernel("EMU_KERNEL_612"), 3, firmware="acpi", append=CONSOLE, **choices)
    assert boot.run() is How.REACHED
    printed = "\n".join(line.text for line in boot.lines)
    assert "ACPI: SPCR: console: pl011,mmio32,0x9000000,115200" in printed
    assert "arch_timer: cp15 timer(s) running at 62.50MHz" in printed
    assert printed.endswith("smp: Brought up 1 node, 3 CPUs")


def test_acpi_lists_the_uart_and_says_that_efi_has_no_runtime_services(real_kernel: Kernel) -> None:
    """A kernel that takes them to be there calls through a null pointer (efi_call_rts)."""
    until = "SBSA"
    boot = build(real_kernel("EMU_KERNEL_612"), 2, firmware="acpi", append=CONSOLE, until=until)
    assert boot.run() is How.REACHED
    assert "ARMH0011:00: ttyAMA0 at MMIO 0x9000000" in boot.lines[-1].text


def test_two_runs_give_the_same_log_times_and_memory(real_kernel: Kernel) -> None:
    ends = []
    for _ in range(2):
        boot = build(real_kernel("EMU_KERNEL_SMALL"), 5, until="cpu_startup_entry")
        boot.run()
        ram = hashlib.sha256(boot.machine.memory.view).hexdigest()
        ends.append((log(boot), ram, [actor.time for actor in boot.machine.actors]))
    assert ends[0] == ends[1]


def test_another_order_of_cpus_gives_another_run_with_the_same_end(real_kernel: Kernel) -> None:
    boots = [build(real_kernel("EMU_KERNEL_SMALL"), 4, scheduler=f"random:{seed}") for seed in (1, 2)]
    assert [boot.run() for boot in boots] == [How.REACHED] * 2
    assert all("Brought up 1 node, 4 CPUs" in log(boot) for boot in boots)
    assert boots[0].machine.actors[0].time != boots[1].machine.actors[0].time


def test_a_line_of_the_log_comes_before_the_firmware_call_behind_it(real_kernel: Kernel) -> None:
    """Linux v6.12 drivers/firmware/psci/psci.c, psci_0_2_init() and psci_init_migrate()."""
    kernel = str(real_kernel("EMU_KERNEL_SMALL"))
    shown = run_emu("boot", kernel, "--depth", "whole", "--cpus", "2", "-v").stdout
    said = ("probing for conduit method", "PSCI_VERSION", "PSCIv1.", "MIGRATE_INFO_TYPE", "Trusted OS")
    places = [shown.index(text) for text in said]
    assert places == sorted(places)


def test_a_panic_ends_in_a_reset_and_is_a_finding(real_kernel: Kernel) -> None:
    """Without a root file system: mount_root_generic()."""
    boot = build(real_kernel("EMU_KERNEL_SMALL"), 2, until="what no kernel says")
    assert boot.run() is How.PANIC
    assert "Kernel panic - not syncing" in log(boot)
    boot = build(real_kernel("EMU_KERNEL_SMALL"), 2, until="panic")
    assert boot.run() is How.REACHED


@pytest.mark.parametrize(("append", "seconds"), [("panic=0", 1), ("panic=5", 5)])
def test_a_kernel_that_panics_and_does_not_reset_the_machine_ends_behind_a_while(
    append: str, seconds: int, real_kernel: Kernel
) -> None:
    """Linux v6.12 kernel/panic.c, vpanic(): delays without end, or a reset behind so many seconds."""
    boot = build(real_kernel("EMU_KERNEL_SMALL"), 2, until="what no kernel says", append=append)
    assert boot.run() is How.PANIC
    assert seconds <= boot.machine.now / 1_000_000_000 < 1.13 * seconds + 0.01


def test_a_panic_before_the_command_line_is_read_ends_the_run(real_kernel: Kernel) -> None:
    boot = build(real_kernel("EMU_KERNEL_SMALL"), 2, append="mem=1M")
    assert boot.run() is How.PANIC
    assert boot.machine.instructions_left > 0


def test_a_cpu_that_never_starts_is_told_by_the_kernel_itself(real_kernel: Kernel) -> None:
    """Linux v6.12 arch/arm64/kernel/smp.c, __cpu_up(): five seconds; the others come up."""
    boot = build(real_kernel("EMU_KERNEL_SMALL"), 4, fault="2:never-starts")
    assert boot.run() is How.REACHED
    lines = log(boot)
    assert "CPU2: failed to come online" in lines
    assert "smp: Brought up 1 node, 3 CPUs" in lines
    assert boot.machine.actors[0].time > 5_000_000_000


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"until": "smp_cpus_don_e"},
            "until=smp_cpus_don_e: no symbol of the kernel; did you mean smp_cpus_done?",
        ),
        ({"gic": "gicv4"}, "gic=gicv4: not one of gicv2, gicv3; did you mean gicv"),
        ({"gic": "gicv2", "topology": "flat:9"}, "gic=gicv2: it has room for 8 CPUs, and there are 9"),
        ({"ram": 1}, "ram=1: MiB, 64 to"),
        ({"initrd": "/nowhere/at/all"}, "initrd=/nowhere/at/all: No such file"),
        ({"input": "/nowhere/at/all"}, "input=/nowhere/at/all: No such file"),
        ({"input": "-"}, "input=-: what is typed comes once: emu boot alone takes it, without --from"),
        ({"cycle": 1}, "depth=whole: cycle=1: the kernel itself does that at this depth"),
        ({"fault": "1:kill-me"}, "faults of firmware and of CPUs alone"),
        ({"enable_method": "spin-table"}, "PSCI starts the CPUs"),
        ({"memory": "caches"}, "memory is coherent at this depth"),
    ],
)
def test_what_has_no_place_at_this_depth_is_refused(
    values: dict[str, object], says: str, real_kernel: Kernel
) -> None:
    case = {"topology": "flat:2", "depth": "whole", **values}
    with pytest.raises(InvalidCase) as caught:
        build_whole(Case(str(real_kernel("EMU_KERNEL_SMALL")), **case))  # type: ignore[arg-type]
    assert says in str(caught.value)


def test_options_of_this_depth_are_refused_at_the_others() -> None:
    done = run_emu("boot", "v3", "--initrd", "x")
    assert (done.returncode, done.stderr) == (2, "emu: initrd=x: --depth whole alone has that\n")
    done = run_emu("trace", "v3", "--depth", "whole", "-o", "/dev/null")
    assert (done.returncode, "v3: no arm64 kernel and no flat image" in done.stderr) == (2, True)


def test_the_command_prints_the_log_a_table_and_the_end(real_kernel: Kernel) -> None:
    kernel = str(real_kernel("EMU_KERNEL_SMALL"))
    done = run_emu("boot", kernel, "--depth", "whole", "--cpus", "2")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert "Booting Linux on physical CPU" in lines[0]
    assert lines[-2].startswith("pass: it came to 'smp: Brought up'; ")
    assert lines[-1].startswith("case: ")
    assert (
        sum(line.startswith(("   0  0x0    running   smp_cpus_done", "   1  0x1    WFI ")) for line in lines)
        == 2
    )


def test_the_json_of_a_case_is_its_run(real_kernel: Kernel) -> None:
    kernel = str(real_kernel("EMU_KERNEL_SMALL"))
    done = run_emu("boot", kernel, "--depth", "whole", "--cpus", "2", "--json")
    found = json.loads(done.stdout)
    assert (found["verdict"], found["ended"], len(found["cpus"])) == ("pass", "reached", 2)
    assert found["cpus"][1]["sgis"] >= 1
    assert any("Brought up 1 node, 2 CPUs" in line["text"] for line in found["log"])
    again = run_emu("boot", "--case", found["case"], "--json")
    assert again.stdout == done.stdout


def test_a_bound_that_is_hit_is_undecided_and_says_how_to_raise_it(real_kernel: Kernel) -> None:
    kernel = str(real_kernel("EMU_KERNEL_SMALL"))
    done = run_emu("boot", kernel, "--depth", "whole", "--cpus", "2", "--instructions-max", "1000000")
    assert done.returncode == 125
    assert "undecided: limit of 1000000 instructions (--instructions-max)" in done.stdout


# -- arrivals --------------------------------------------------------------------------------------


def test_each_cpu_arrives_with_what_the_kernel_has_prepared_for_it(real_kernel: Kernel) -> None:
    """Linux v6.12 kernel/smpboot.c, idle_threads; nothing is found, and each arrival was looked at."""
    boot = build(real_kernel("EMU_KERNEL_SMALL"), 4)
    boot.run()
    boot.finish()
    trace = boot.machine.trace
    assert judge(trace).findings == ()
    landed = [record.actor for record in trace if record.kind is Kind.LAND]
    assert sorted(landed) == [1, 2, 3]
    tasks = {record.actor for record in trace if record.kind is Kind.EXPECT and record.size == Expect.TASK}
    assert tasks == {1, 2, 3}
    assert [boot.machine.outcome(cpu) for cpu in range(4)] == [ONLINE] * 4


@pytest.mark.parametrize("is_left_out", [False, True])
def test_a_host_at_el2_arrives_with_what_init_el2_sets(is_left_out: bool, real_kernel: Kernel) -> None:
    """The boot CPU's timer driver has changed CNTHCTL_EL2 by then. The bug: CPU2 does not write it."""
    boot = build(real_kernel("EMU_KERNEL_SMALL"), 3, el=2, cpu="neoverse-n1")
    land = boot.arrivals.land

    def planted(cpu: int) -> bool:
        if cpu == 2 and is_left_out:
            boot.machine.actors[cpu].pe.set_system_register(CNTHCTL_EL2, 1 << 2)
        return land(cpu)

    boot.arrivals.land = planted  # type: ignore[method-assign]
    boot.run()
    boot.finish()
    found = [(finding.what, finding.cpus) for finding in judge(boot.machine.trace).findings]
    assert found == [("unlike-boot-cpu", (2,))] * is_left_out


def test_a_cpu_that_arrives_with_anothers_stack_is_found(real_kernel: Kernel) -> None:
    """The bug is planted where CPU2 comes to C: it has the stack pointer of CPU1."""
    boot = build(real_kernel("EMU_KERNEL_SMALL"), 3)
    stacks: list[int] = []
    land = boot.arrivals.land

    def planted(cpu: int) -> bool:
        pe = boot.machine.actors[cpu].pe
        stacks.append(pe.x[31])
        pe.x[31] = stacks[0]
        land(cpu)
        pe.x[31] = stacks[-1]
        return True

    boot.arrivals.land = planted  # type: ignore[method-assign]
    boot.run()
    boot.finish()
    found = {(finding.what, finding.cpus) for finding in judge(boot.machine.trace).findings}
    assert found == {("shared-stack", (1, 2)), ("outside-stack", (2,))}


# -- schedules -------------------------------------------------------------------------------------


def test_schedules_from_smp_init_find_nothing_in_a_sound_kernel(real_kernel: Kernel) -> None:
    case = Case(str(real_kernel("EMU_KERNEL_SMALL")), topology="flat:4", depth="whole")
    found = explore_whole(case, schedules=12)
    assert (found.runs, found.failing, found.undecided) == (12, [], 0)
    assert 100_000 < found.instructions // found.runs < 2_000_000


def test_the_result_is_the_same_whatever_the_number_of_processes(real_kernel: Kernel) -> None:
    case = Case(str(real_kernel("EMU_KERNEL_SMALL")), topology="flat:3", depth="whole")
    found = [explore_whole(case, schedules=6, jobs=jobs, latency_max=900_000) for jobs in (1, 3)]
    assert [(each.runs, each.instructions) for each in found] == [(6, found[0].instructions)] * 2


def test_a_schedule_is_a_case_that_does_the_same_from_the_beginning(real_kernel: Kernel) -> None:
    case = Case(str(real_kernel("EMU_KERNEL_SMALL")), topology="flat:4", depth="whole", scheduler="random:3")
    for number in (0, 1, 2):
        varied = vary(case, 4, number, 400_000)
        boot = checkpoint(case, "smp_init")
        run_from(boot, varied)
        whole = build_whole(varied)
        whole.run()
        assert [(a.time, a.pe.counters.instructions) for a in boot.machine.actors] == [
            (a.time, a.pe.counters.instructions) for a in whole.machine.actors
        ]
        assert bytes(boot.machine.memory.view) == bytes(whole.machine.memory.view)


def test_options_of_schedules_are_refused_where_they_have_no_place(real_kernel: Kernel) -> None:
    kernel = str(real_kernel("EMU_KERNEL_SMALL"))
    done = run_emu("explore", kernel, "--depth", "whole", "--cpus", "2", "--early", "1")
    assert (done.returncode, "--early: not at depth whole" in done.stderr) == (2, True)
    done = run_emu("explore", "v3", "--from", "smp_init")
    assert (done.returncode, done.stderr) == (2, "emu: --from: --depth whole alone has that\n")
    done = run_emu("explore", kernel, "--depth", "whole", "--cpus", "2", "--from", "nowhere")
    assert (done.returncode, "from=nowhere: no symbol of the kernel" in done.stderr) == (2, True)


def test_the_command_prints_how_many_schedules_there_were_and_what_they_cover(real_kernel: Kernel) -> None:
    kernel = str(real_kernel("EMU_KERNEL_SMALL"))
    done = run_emu("explore", kernel, "--depth", "whole", "--cpus", "2", "--max-schedules", "3")
    assert done.returncode == 0
    assert done.stdout.startswith("pass: 3 schedules from smp_init, 0 with findings; ")
    assert "covered: these schedules; " in done.stdout


def test_a_parallel_kernel_with_one_secondary_data_is_found(real_kernel: Kernel) -> None:
    """Within a few schedules, told with one delay, and shown again by the case that is told."""
    kernel = str(real_kernel("EMU_KERNEL_NAIVE"))
    done = run_emu("explore", kernel, "--depth", "whole", "--cpus", "4", "--max-schedules", "100")
    assert done.returncode == 1
    (told,) = (line for line in done.stdout.splitlines() if "found, " in line)
    assert int(told.split()[1].rstrip(":")) < 20
    assert "took the stack pointer 0x" in done.stdout.replace("\n  ", " ")
    assert done.stdout.count("calls CPU_ON for CPU") >= 2
    case = next(line.removeprefix("case: ") for line in done.stdout.splitlines() if line.startswith("case: "))
    assert case.count(":late:") == 1
    again = run_emu("boot", "--case", case)
    assert again.returncode == 1
    assert "fail: two CPUs came to C on one stack" in again.stdout
    assert (
        run_emu("boot", kernel, "--depth", "whole", "--cpus", "4").returncode == 0
    )  # the order of every day


@pytest.mark.parametrize(
    ("words", "online"),
    [
        (("--cpus", "4", "--append", "maxcpus=2"), 2),
        (("--cpus", "3", "--append", "nosmp"), 1),
        (("--cpus", "4", "--append", "nr_cpus=3"), 3),
        (("--topology", "bad-holes:4"), 2),
        (("--topology", "bad-boot-missing:3"), 1),
    ],
)
def test_a_cpu_that_the_kernel_need_not_bring_up_is_no_finding(
    words: tuple[str, ...], online: int, real_kernel: Kernel
) -> None:
    """Parameters bound how many are up, and a CPU that smp_init_cpus() refuses has no number."""
    done = run_emu("boot", str(real_kernel("EMU_KERNEL_SMALL")), "--depth", "whole", *words)
    assert (done.returncode, "finding" in done.stdout) == (0, False), done.stdout
    assert f"smp: Brought up 1 node, {online} CPU" in done.stdout


def test_round_robin_is_not_taken_for_the_default_of_the_depth(real_kernel: Kernel) -> None:
    kernel = str(real_kernel("EMU_KERNEL_SMALL"))
    done = run_emu("boot", kernel, "--depth", "whole", "--scheduler", "round-robin")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("scheduler=round-robin: not at this depth, whose default is timed\n")


def test_a_secondary_with_hwid_0_is_parked_by_the_rfcs_look_up(real_kernel: Kernel, tmp_path: Path) -> None:
    """It comes to __secondary_too_slow(): its kernel goes on without it, and says so ten seconds later."""
    kernel, topology = str(real_kernel("EMU_KERNEL_RFC")), tmp_path / "cpus.json"
    topology.write_text(json.dumps({"cpus": [{"hwid": hwid} for hwid in ("0x1", "0x0", "0x2")]}))
    done = run_emu("boot", kernel, "--depth", "whole", "--topology", str(topology))
    assert done.returncode == 1
    text = done.stdout.replace("\n  ", " ")
    assert "CPU1 never came to secondary_start_kernel" in text
    assert "__secondary_too_slow" in text
    assert "Brought up 1 node, 2 CPUs" in text


# -- user space ------------------------------------------------------------------------------------


def test_an_init_of_our_own_takes_a_cpu_down_and_up_through_sysfs(real_kernel: Kernel) -> None:
    """CPU_OFF and CPU_ON by the kernel's own hotplug; then it powers off. No rule finds anything."""
    boot = build(
        real_kernel("EMU_KERNEL_612"),
        2,
        initrd=str(EXAMPLES / "init.S"),
        until="poweroff",
        append="cryptomgr.notests",
    )
    assert boot.run() is How.REACHED
    text = log(boot)
    assert "psci: CPU1 killed (polled 0 ms)" in text
    assert text.count("CPU1: Booted secondary processor") == 2
    assert boot.lines[-2].text == "init: CPU1 has come and gone."
    boot.finish()
    assert judge(boot.machine.trace).findings == ()
    kinds = [r.kind for r in boot.machine.trace if r.actor == 1 and r.kind in (Kind.POWER_ON, Kind.POWER_OFF)]
    assert kinds == [Kind.POWER_ON, Kind.POWER_OFF, Kind.POWER_ON]


def test_what_is_behind_the_numbers_of_a_kernel_is_none_of_its_masks(real_kernel: Kernel) -> None:
    """Linux v6.12 include/linux/cpumask.h: a mask has NR_CPUS bits; firmware may list more CPUs.

    Planted: the bits of CPU1 and above are another variable's.
    """
    found = []
    for numbers in (4, 1):
        boot = build(real_kernel("EMU_KERNEL_SMALL"), 4)
        assert boot.run() is How.REACHED
        memory, subject = boot.machine.memory, boot.image.subject
        memory.write(subject.pa("nr_cpu_ids"), 4, numbers)
        memory.write(subject.pa("__cpu_possible_mask"), 1, 0b1011)
        memory.write(subject.pa("__cpu_logical_map") + 8, 8, 0xBFFF_C00F)
        boot.finish()
        found.append([f"{each.rule}: {each.what}" for each in judge(boot.machine.trace).findings])
    assert found[0]
    assert found[1] == []


def test_an_init_reads_what_the_console_receives(real_kernel: Kernel, tmp_path: Path) -> None:
    """The kernel's driver takes it by interrupts, and its line discipline echoes it."""
    lines = tmp_path / "lines"
    lines.write_text("hello there\noff\n")
    boot = build(
        real_kernel("EMU_KERNEL_612"),
        1,
        initrd=str(EXAMPLES / "echo.S"),
        input=str(lines),
        until="poweroff",
        append="cryptomgr.notests",
    )
    assert boot.run() is How.REACHED
    printed = [line.text for line in boot.lines]
    assert [text for text in printed if text.startswith("init: ")] == ["init: hello there", "init: off"]
    assert "hello there" in printed


def test_an_init_that_cannot_be_assembled_is_an_error_of_its_line(
    real_kernel: Kernel, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.S"
    bad.write_text("_start:\n        nonsense x0\n")
    done = run_emu(
        "boot", str(real_kernel("EMU_KERNEL_SMALL")), "--depth", "whole", "--cpus", "2", "--initrd", str(bad)
    )
    assert done.returncode == 125  # as of a subject that cannot be assembled: git bisect goes on
    assert f"{bad}:2" in done.stderr

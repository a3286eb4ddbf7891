"""kexec: a second boot on any CPU of the first one, and pens that are overwritten with CPUs in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from booting import Run, run

from emu.arch.mpidr import hwid
from emu.case import Case
from emu.designs import DESIGNS
from emu.errors import InvalidCase, InvalidSubject
from emu.host.build import build
from emu.host.choices import KEXEC_STUCK, KexecRequest, parse_kexec
from emu.machine.actor import Actor, Grain
from emu.machine.host_memory import HostMemory
from emu.machine.recorder import Recorder
from emu.operation import OPERATIONS, Expect, Kind, Register
from emu.outcome import End, Outcome
from emu.report.outcome import as_json, cpu_outcomes, reentry
from emu.report.words import finding_words
from emu.rules import pen
from emu.subject.fragment import asm_dir
from emu.trace import HOST_PC, Trace

SPIN_TABLE = "topology=flat:4 enable-method=spin-table append=maxcpus=2 force=1"
OTHERS = ["v2", "v3", "mainline", "context-id"]  # rfc has a finding of its own when hwid 0 is a secondary


def hwids(done: Run) -> list[int | None]:
    return [cpu.hwid for cpu in cpu_outcomes(done.boot)]


def tasks(done: Run, boot: int) -> dict[int, list[int]]:
    """SP_EL0 of each landing of each CPU in one boot."""
    found: dict[int, list[int]] = defaultdict(list)
    kind_before = None
    for kind, _size, cpu, _pc, pa, value in done.boot.machine.trace.boots()[boot]:
        if kind == Kind.REGISTER and pa == Register.SP_EL0 and kind_before == Kind.LAND:
            found[cpu].append(value)
        if kind != Kind.REGISTER:
            kind_before = kind
    return dict(found)


def guest_operations(done: Run, boot: int) -> dict[int, list[tuple[int, ...]]]:
    """What guest code did in one boot, by CPU; host tasks look at words as often as their turn comes."""
    trace = done.boot.machine.trace
    found: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    for kind, size, cpu, pc, pa, value in trace.boots()[boot]:
        if kind in OPERATIONS and trace.location(pc) is None:
            found[cpu].append((kind, size, pc, pa, value))
    return dict(found)


# -- over PSCI ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("el", [1, 2])
@pytest.mark.parametrize("cpu", [0, 2, 3])
@pytest.mark.parametrize("design", OTHERS)
def test_any_cpu_boots_the_next_subject_and_the_old_cpu0_is_a_secondary(
    design: str, cpu: int, el: int
) -> None:
    """kernel_kexec() runs on reboot_cpu; the new kernel numbers the CPU that it boots on 0."""
    done = run(f"{design} topology=flat:4 el={el} kexec={design}@{cpu}")
    assert done.messages == []
    assert done.outcomes == ["online"] * 4
    assert hwids(done) == [cpu, *(other for other in range(4) if other != cpu)]
    idle = done.boot.guest.idle
    assert tasks(done, 1) == {number: [idle[number].task] for number in (1, 2, 3)}
    assert tasks(done, 0) == {number: [done.boot.earlier[0].idle[number].task] for number in (1, 2, 3)}


@pytest.mark.parametrize("first", DESIGNS)
@pytest.mark.parametrize("second", OTHERS)
def test_any_design_after_any_other(first: str, second: str) -> None:
    done = run(f"{first} topology=flat:4 kexec={second}@1")
    assert done.messages == []
    assert done.outcomes == ["online"] * 4
    assert done.boot.guest.design.name == second
    assert hwids(done) == [1, 0, 2, 3]


def test_rfc_never_finds_hwid_0_once_it_is_a_secondary() -> None:
    """Entry 0 of its table is never filled, so hwid 0 matches it: no fault of the first boot."""
    assert run("rfc topology=flat:4 kexec=rfc@0").messages == []
    done = run("rfc topology=flat:4 kexec=rfc@2")
    assert [finding.rule for finding in done.verdict.findings] == ["arrival", "lookup"]
    assert done.messages[0].startswith(
        "after kexec: CPU1 never came to secondary_start_kernel: asleep in WFE"
    )
    assert done.outcomes == ["online", "asleep in WFE", "online", "online"]


def test_what_is_said_in_between_is_the_kernels_and_one_line_of_ours() -> None:
    """kernel/kexec_core.c, drivers/firmware/psci/psci.c, arch/arm64/kernel/machine_kexec.c."""
    lines = run("v3 topology=flat:4 kexec=v2@2").lines
    at = lines.index("kexec_core: Starting new kernel")
    assert lines[at + 1 : at + 6] == [
        *(f"psci: CPU{cpu} killed (polled 0 ms)" for cpu in (0, 1, 3)),
        "Bye!",
        "emu: kexec: v2 boots on CPU2, hwid 0x2: CPU0 from now on",
    ]
    assert lines.count("smp: Brought up 1 node, 4 CPUs") == 2


def test_every_cpu_but_one_is_off_when_the_image_is_copied() -> None:
    done = run("v3 topology=flat:8 kexec=v3@5")
    on = set(range(8))
    for record in done.boot.machine.trace:
        if record.kind == Kind.POWER_OFF:
            on.remove(record.actor)
        if record.kind == Kind.COPY:
            assert on == {5}
            assert record.actor == 5
            break
    else:
        pytest.fail("no COPY")


@pytest.mark.parametrize(
    ("topology", "cpu"),
    [
        ("clusters", 1),
        ("smt", 3),
        ("sockets", 3),
        ("sparse", 1),
        ("boot-elsewhere", 1),
        ("bad-duplicate", 1),
        ("bad-duplicate", 2),
        ("bad-holes", 3),
        ("bad-holes", 4),
    ],
)
def test_numbers_are_those_of_a_boot_on_that_cpu(topology: str, cpu: int) -> None:
    """smp_init_cpus() of the second boot is what it would be had firmware booted that CPU."""
    done = run(f"v3 topology={topology} kexec=v3@{cpu}")
    assert done.messages == []
    mine = done.boot.earlier[0].hwids[cpu]
    place = [entry.hwid for entry in done.boot.topology.cpus].index(mine)
    fresh = run(f"v3 topology={topology} boot-cpu={place}")
    assert done.boot.guest.logical == fresh.boot.guest.logical
    assert [hwid(actor.pe.mpidr) for actor in done.boot.machine.actors] == [
        hwid(actor.pe.mpidr) for actor in fresh.boot.machine.actors
    ]
    assert done.outcomes == fresh.outcomes


def test_cpus_that_the_first_boot_left_off_come_up_in_the_second() -> None:
    """maxcpus= is the first kernel's parameter."""
    done = run("v3 topology=flat:6 append=maxcpus=2 kexec=v3@1")
    assert done.messages == []
    assert done.outcomes == ["online"] * 6
    assert "smp: Brought up 1 node, 2 CPUs" in done.lines


def test_a_cpu_down_and_up_again_before() -> None:
    assert run("v3 topology=flat:4 cycle=2 kexec=v3@3").messages == []


def test_a_vcpu_that_was_removed_stays_away() -> None:
    done = run("v3 topology=vcpus hotplug=3:remove kexec=v3@2")
    assert done.messages == []
    assert done.outcomes == ["online"] * 3 + ["off"] * 5


def test_a_vcpu_that_was_removed_stays_away_under_another_number() -> None:
    done = run("v3 topology=vcpus hotplug=1:remove kexec=v3@2")
    assert done.messages == []
    assert hwids(done)[:3] == [2, 0, 1]
    assert done.outcomes == ["online", "online", "off", "online"] + ["off"] * 4


def test_a_vcpu_that_was_added_may_boot_the_next_subject() -> None:
    done = run("v3 topology=vcpus hotplug=4:add,4:online kexec=v3@4")
    assert done.messages == []
    assert done.outcomes == ["online"] * 5 + ["off"] * 3
    assert hwids(done)[:2] == [4, 0]
    one_more = run("v3 topology=vcpus hotplug=4:add kexec=v3@1")
    assert one_more.outcomes == ["online"] * 5 + ["off"] * 3


# -- the same at any grain, and again ----------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["round-robin", "timed", "random:7"])
@pytest.mark.parametrize("design", OTHERS)
def test_operations_do_not_depend_on_the_grain(design: str, scheduler: str) -> None:
    runs = [
        run(
            f"{design} topology=flat:4 kexec={design}@2 scheduler={scheduler} grain={grain.value}",
            record=True,
        )
        for grain in Grain
    ]
    for done in runs:
        assert done.messages == []
        for boot in (0, 1):
            found, wanted = guest_operations(done, boot), guest_operations(runs[0], boot)
            assert sorted(found) == [1, 2, 3]
            if design != "v2":  # its CPUs zero one early status
                assert found == wanted
    counters = [[actor.pe.counters.instructions for actor in done.boot.machine.actors] for done in runs]
    assert counters[0] == counters[1] == counters[2]
    assert counters[0][0] == 0


@pytest.mark.parametrize("case", ["v3 topology=flat:6 kexec=v2@4", f"mainline {SPIN_TABLE} kexec=v3"])
def test_the_same_case_gives_the_same_trace(case: str) -> None:
    one = run(case, record=True)
    assert one.trace_bytes == run(one.boot.case.text(), record=True).trace_bytes


# -- spin-table: CPUs that nobody can take out of the pen --------------------------------------------------


@pytest.mark.parametrize("cpu", [0, 1])
@pytest.mark.parametrize("design", ["mainline", "v2", "v3"])
def test_occupants_and_writer_of_a_pen_are_named(design: str, cpu: int) -> None:
    """CPU2 and CPU3 were never released; their pen lies where the same image is copied again."""
    done = run(f"{design} {SPIN_TABLE} kexec={design}@{cpu}")
    guest = done.boot.earlier[0]
    low, high = guest.subject.pa("secondary_holding_pen"), guest.subject.pa("secondary_entry")
    found = [finding for finding in done.verdict.findings if finding.rule == "pen"]
    assert [finding.cpus for finding in found] == [(2, cpu), (3, cpu)]
    for finding in found:
        occupant = finding.cpus[0]
        text = finding_words(finding)
        assert text.startswith(f"CPU{occupant} (hwid {occupant:#x}) still spins in secondary_hold")
        assert f"({low:#x}..{high:#x}), which CPU{cpu} overwrites with {design}, {low:#x}.." in text
        assert ", at emu/host/kexec.py:" in text
    assert done.verdict.findings == tuple(found)


def test_occupants_run_on_in_the_pen_of_the_second_subject() -> None:
    """The same bytes at the same place: they leave it as secondaries of the second boot."""
    done = run(f"v3 {SPIN_TABLE} kexec=v3")
    assert done.outcomes == ["online", "stopped", "online", "online"]
    assert tasks(done, 1) == {number: [done.boot.guest.idle[number].task] for number in (2, 3)}
    assert "CPU1: failed to come online" in done.lines


def test_occupants_run_on_in_whatever_lies_there_now(tmp_path: Path) -> None:
    """They sleep in the WFE, wake into the new bytes, and these are branches to themselves."""
    lines = ["trap:", "        .rept 32", "        b .", "        .endr"]
    for item in DESIGNS["v3"].fragments:
        suffix = ".inc" if (asm_dir() / f"{item}.inc").exists() else ".S"
        lines.append(f'#include "{item}{suffix}"')
    path = tmp_path / "other.S"
    path.write_text("\n".join(lines) + "\n")
    done = run(f"v3 {SPIN_TABLE} kexec={path}")
    guest = done.boot.earlier[0]
    behind_wfe = guest.subject.pa("pen") + 0x10
    for cpu in (2, 3):
        assert done.outcomes[cpu] == "branches to itself"
        assert done.boot.machine.actors[cpu].pe.pc == behind_wfe
    assert [f.cpus[0] for f in done.verdict.findings if f.rule == "pen"] == [2, 3]
    never = [message for message in done.messages if message.startswith("after kexec: CPU2 never came")]
    assert never == [
        f"after kexec: CPU2 never came to secondary_start_kernel: branches to itself, PC {behind_wfe:#x}"
    ]


def test_nobody_in_the_pen_is_no_finding() -> None:
    """All were released: they are stopped, which the second boot tells of each."""
    done = run("mainline topology=flat:4 enable-method=spin-table force=1 kexec=mainline")
    assert done.messages == []
    assert done.outcomes == ["online", "stopped", "stopped", "stopped"]
    assert [line for line in done.lines if "failed to come online" in line] == [
        f"CPU{cpu}: failed to come online" for cpu in (1, 2, 3)
    ]


def test_an_image_elsewhere_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only bytes of the pen count."""
    whole = HostMemory.copy

    def behind_the_pen(self: HostMemory, cpu: int, actor: Actor, pa: int, data: bytes) -> None:
        self._memory.write_bytes(pa, data)
        whole(self, cpu, actor, pa + 0x38, data[0x38:])

    monkeypatch.setattr(HostMemory, "copy", behind_the_pen)
    done = run(f"v3 {SPIN_TABLE} kexec=v3")
    assert [f for f in done.verdict.findings if f.rule == "pen"] == []


def test_a_copy_that_leaves_no_record_is_not_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule judges the trace: these tests fail when the overwrite does not get there."""
    event = Recorder.event

    def forgetful(self: Recorder, kind: Kind, *rest: int, **named: int) -> None:
        if kind is not Kind.COPY:
            event(self, kind, *rest, **named)

    monkeypatch.setattr(Recorder, "event", forgetful)
    assert run(f"v3 {SPIN_TABLE} kexec=v3").messages == []


@pytest.mark.parametrize(
    ("fault", "where"),
    [("no-52bit-va", "__cpu_secondary_check52bitva"), ("no-granule", "__no_granule_support")],
)
def test_a_loop_that_a_cpu_is_stuck_in_is_a_pen_too(fault: str, where: str) -> None:
    done = run(f"v3 topology=flat:4 fault=2:{fault} force=1 kexec=v3@1")
    found = [finding for finding in done.verdict.findings if finding.rule == "pen"]
    assert [finding.cpus for finding in found] == [(2, 1)]
    assert finding_words(found[0]).startswith(f"CPU2 (hwid 0x2) still spins in {where} at PA 0x402")


def pen_trace(*between: tuple[Kind, int]) -> Trace:
    """CPU1 in a pen at 0x1000, a copy over it by CPU0, and what is given in between."""
    trace = Trace("v3 kexec=v2@0")
    trace.add(Kind.EXPECT, 1, Expect.HWID, 0, 0, 0x101)
    trace.add(Kind.EXPECT, 0, Expect.PEN, 0, 0x1040, 0x1000)
    trace.add_outcome(1, 0x1020, Outcome(End.ASLEEP_WFE))
    trace.add(Kind.SHUTDOWN, 0, 0, 0, 0, 0)
    trace.add(Kind.NEXT_BOOT, 0, 0, 0, 0, trace.string("v2"))
    for kind, cpu in between:
        trace.add(kind, cpu, 1, 0, 0, 0)
    trace.add(Kind.COPY, 0, 0, HOST_PC + trace.string("kexec.py:1"), 0xFF8, 0x20)
    return trace


def test_a_pen_is_judged_from_the_trace() -> None:
    (finding,) = pen.judge(pen_trace())
    assert finding_words(finding) == (
        "CPU1 (hwid 0x101) still spins in secondary_holding_pen at PA 0x1020 (0x1000..0x1040), which CPU0 "
        "overwrites with v2, 0xff8..0x1018, at kexec.py:1"
    )


@pytest.mark.parametrize("kind", [Kind.POWER_OFF, Kind.LAND, Kind.REENTRY])
def test_who_has_left_the_pen_is_not_in_it(kind: Kind) -> None:
    assert pen.judge(pen_trace((kind, 1))) == []


def test_parked_cpus_stay_with_firmware() -> None:
    """The parking protocol has no pen in the kernel: who was never woken is there for the next one."""
    done = run("v3 topology=flat:4 enable-method=parking-protocol append=maxcpus=2 force=1 kexec=v3@1")
    assert done.messages == []
    assert done.outcomes == ["online", "stopped", "online", "online"]


# -- refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["spin-table", "parking-protocol"])
def test_cpus_that_cannot_be_switched_off_are_stuck_in_the_kernel(method: str) -> None:
    """cpus_are_stuck_in_kernel(): more than one possible CPU and no cpu_die(); one CPU is none too many."""
    with pytest.raises(InvalidCase, match=r"^kexec=v3: Can't kexec: CPUs are stuck in the kernel .*--force"):
        build(Case.parse(f"v3 topology=flat:4 enable-method={method} kexec=v3"))
    assert run(f"v3 topology=flat:1 enable-method={method} kexec=v3").messages == []


def test_a_cpu_stuck_in_the_kernel_keeps_the_first_boot() -> None:
    """cpus_stuck_in_kernel is counted where the boot CPU reads the failure."""
    done = run("v3 topology=flat:4 fault=2:no-52bit-va kexec=v3@1")
    assert done.messages == []
    assert done.lines[-1] == KEXEC_STUCK
    assert not done.boot.earlier
    assert reentry(done.boot) is None


def test_a_cpu_that_did_not_come_up_boots_nothing() -> None:
    """Not known before the run; the first boot is judged, and the run is cut off."""
    done = run("v3 topology=flat:4 fault=2:kill-me kexec=v3@2")
    assert done.messages == []
    assert done.boot.machine.stopped == "kexec: CPU2 is not online after the first boot"
    assert as_json(done.boot, done.verdict)["verdict"] == "untestable"


def test_findings_of_the_first_boot_are_kept_when_it_is_the_last() -> None:
    done = run("rfc topology=flat:4 fault=1:die-early force=1 kexec=v3@1")
    assert done.boot.machine.stopped
    assert [finding.rule for finding in done.verdict.findings] == ["telemetry"]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("v3 kexec=v3@9", "kexec=v3@9: the first boot has no CPU9, of 8 possible"),
        ("v3 append=maxcpus=2 kexec=v3@2", "kexec=v3@2: CPU2 is not online after the first boot"),
        ("v3 append=nosmp kexec=v3@1", "kexec=v3@1: CPU1 is not online after the first boot"),
        ("v3 fault=2:setup-refused kexec=v3@2", "kexec=v3@2: the first boot has no CPU2, of 7 possible"),
        ("v3 kexec=@1", "kexec=@1: SUBJECT or SUBJECT@CPU"),
    ],
)
def test_what_makes_no_sense_is_one_line(case: str, message: str) -> None:
    with pytest.raises(InvalidCase) as caught:
        build(Case.parse(case))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_unknown_subject_is_told_before_anything_runs() -> None:
    with pytest.raises(InvalidSubject, match=r"^nowhere: no such file, and no design: not one of"):
        build(Case.parse("v3 kexec=nowhere@1"))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("v3", ("v3", 0)), ("v3@12", ("v3", 12)), ("a@b/Image", ("a@b/Image", 0)), ("a@b@1", ("a@b", 1))],
)
def test_forms(text: str, parsed: tuple[str, int]) -> None:
    assert parse_kexec(text) == KexecRequest(*parsed)


# -- faults, and firmware that remembers -------------------------------------------------------------------


def test_firmware_that_refuses_cpu_on_after_cpu_off() -> None:
    """It shows once CPUs have been off: the fault is the CPU's, whatever its number is now."""
    done = run("v3 topology=flat:4 fault=3:refuse-after-off kexec=v3@1")
    assert done.outcomes == ["online", "online", "online", "off"]
    assert "psci: failed to boot CPU3 (-22)" in done.lines
    moved = run("v3 topology=flat:4 fault=1:refuse-after-off kexec=v3@3")
    assert moved.outcomes == ["online", "online", "off", "online"]
    assert hwids(moved)[2] == 1


def test_a_second_start_finds_its_cpu_under_another_number() -> None:
    """Firmware's, a millisecond after the first: by then another boot has begun."""
    done = run("v3 topology=flat:4 fault=2:double-start kexec=v3@3")
    assert "after kexec: CPU3 was switched on while it was on" in done.messages
    assert hwids(done)[3] == 2
    assert not any(message.startswith("after kexec: CPU2") for message in done.messages)


def test_a_late_cpu_is_late_again() -> None:
    done = run("v3 topology=flat:4 fault=2:late:3000000 kexec=v3@1")
    assert done.messages == []
    assert done.outcomes == ["online"] * 4


# -- reports -----------------------------------------------------------------------------------------------


def test_the_report_is_of_the_second_boot() -> None:
    done = run("v3 topology=flat:4 kexec=v2@2")
    made = as_json(done.boot, done.verdict)
    assert made["reentry"] == {"subject": "v2", "cpu": 2, "hwid": 2}
    assert [cpu["hwid"] for cpu in made["cpus"]] == [2, 0, 1, 3]
    assert [cpu["landed"] for cpu in made["cpus"]] == [0, 1, 1, 1]
    assert made["dmesg"] == done.lines
    assert as_json((once := run("v3")).boot, once.verdict)["reentry"] is None


# -- real kernels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("el", [1, 2])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("EMU_KERNEL_612", "EMU_KERNEL_612"),
        ("EMU_KERNEL_61", "EMU_KERNEL_612"),
        ("EMU_KERNEL_612", "EMU_KERNEL_16K"),
        ("EMU_KERNEL_SMALL", "EMU_KERNEL_SPLIT"),
        ("EMU_KERNEL_SPLIT", "EMU_KERNEL_SMALL"),
    ],
)
def test_a_kernel_boots_for_real_on_any_cpu(
    real_kernel: Callable[[str], Path], first: str, second: str, el: int
) -> None:
    """Its primary runs on that PE, over memory that another kernel has used."""
    done = run(f"{real_kernel(first)} topology=flat:4 el={el} kexec={real_kernel(second)}@2", record=True)
    assert done.messages == []
    assert done.outcomes == ["online"] * 4
    assert hwids(done) == [2, 0, 1, 3]
    fresh = run(f"{real_kernel(second)} topology=flat:4 boot-cpu=2 el={el}")
    for actor, alone in zip(done.boot.machine.actors[1:], fresh.boot.machine.actors[1:], strict=True):
        assert actor.pe.counters.instructions == alone.pe.counters.instructions


def test_between_a_kernel_and_a_fragment(real_kernel: Callable[[str], Path]) -> None:
    kernel = real_kernel("EMU_KERNEL_612")
    for case in (f"{kernel} topology=flat:4 kexec=v3@2", f"v3 topology=flat:4 kexec={kernel}@2"):
        done = run(case)
        assert done.messages == []
        assert hwids(done) == [2, 0, 1, 3]
        again = run(done.boot.case.text())
        assert again.trace_bytes == done.trace_bytes


def test_the_pen_of_a_kernel(real_kernel: Callable[[str], Path]) -> None:
    kernel = real_kernel("EMU_KERNEL_612")
    done = run(f"{kernel} {SPIN_TABLE} kexec={kernel}")
    assert [(f.rule, f.cpus) for f in done.verdict.findings] == [("pen", (2, 0)), ("pen", (3, 0))]
    assert done.outcomes == ["online", "stopped", "online", "online"]


def test_the_rfc_kernel_never_finds_hwid_0_either(real_kernel: Callable[[str], Path]) -> None:
    kernel = real_kernel("EMU_KERNEL_RFC")
    done = run(f"{kernel} topology=flat:4 kexec={kernel}@2")
    assert [finding.rule for finding in done.verdict.findings] == ["arrival", "lookup"]

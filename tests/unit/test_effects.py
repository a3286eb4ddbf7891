"""A choice that cannot change anything in a run is refused, or said; no other is."""

from __future__ import annotations

from dataclasses import fields

import pytest
from programs import run_emu

from emu.case import Case
from emu.errors import InvalidCase
from emu.host.build import build
from emu.host.effects import ALWAYS, REFUSED, REFUSED_LATER, SAID
from emu.host.parameters import parse_parameters
from emu.schedulers import SCHEDULERS, make_scheduler


def test_every_field_of_a_case_says_where_it_acts() -> None:
    """A new one has a row, or it is listed as one that acts in every run."""
    rows = {row.field for row in (*REFUSED, *REFUSED_LATER)}
    names = {field.name for field in fields(Case)}
    assert rows | ALWAYS | set(SAID) == names
    assert not ALWAYS & rows


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("v3 granule=128", "granule=128: memory=coherent has no lines (--memory caches)"),
        (
            "v3 conduit=hvc enable-method=spin-table",
            "conduit=hvc: enable-method spin-table does not call firmware",
        ),
        ("v3 system-map=x", "system-map=x: v3 is no kernel"),
        ("x.S system-map=x", "system-map=x: x.S is no kernel"),
        ("v3 firmware=acpi append=acpi=off", "firmware=acpi: contradicts 'acpi=off'"),
        ("v3 firmware=devicetree append=acpi=force", "firmware=devicetree: contradicts 'acpi=force'"),
        ("v3 bringup=serial append=cpuhp.parallel=1", "bringup=serial: contradicts 'cpuhp.parallel=1'"),
        ("v3 fault=1:no-clean", "fault=1:no-clean: no caches, so that nothing is cleaned (--memory caches)"),
        (
            "mainline memory=caches fault=1:no-clean",
            "fault=1:no-clean: mainline: the boot CPU cleans nothing",
        ),
        ("v3 fault=1:no-sev", "fault=1:no-sev: v3: enable-method psci sends no event"),
        ("v3 fault=1:early-sev", "fault=1:early-sev: v3: enable-method psci sends no event"),
        (
            "v3 enable-method=spin-table fault=1:late:5",
            "fault=1:late: v3: enable-method spin-table does not call CPU_ON",
        ),
        ("v3 fault=1:late:0", "fault=1:late:0: 0 is no delay"),
        ("v3 fault=1:denied:0", "fault=1:denied:0: 0 denies no call"),
        (
            "v3 fault=1:refuse-after-off",
            "fault=1:refuse-after-off: no CPU is started a second time (--cycle 1)",
        ),
        (
            "context-id fault=2:context-swapped:2",
            "fault=2:context-swapped: context-id: CPU2 gets its own context ID",
        ),
    ],
)
def test_what_has_nothing_to_act_on_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidCase) as caught:
        build(Case.parse(text))
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("topology=flat:1 cycle=1 bringup=serial", "bringup=serial, cycle=1: no secondary is brought up"),
        ("append=nosmp scheduler=timed", "scheduler=timed: no secondary is brought up"),
        ("append=maxcpus=2 fault=3:panic", "fault=3:panic: CPU3 is not brought up"),
        ("append=nr_cpus=2 fault=3:panic", "fault=3:panic: CPU3 is not brought up"),
        ("append='quiet quiet foo=1'", "append: not used: quiet foo=1"),
        ("append=maxcpus=9", "append: maxcpus=9: there are 8 CPUs"),
        ("force=1", "force=1: nothing here would be refused"),
    ],
)
def test_what_changes_nothing_here_is_said_once(text: str, note: str) -> None:
    (said,) = build(Case.parse(f"v3 {text}")).notes
    assert said.startswith(note)
    text = text.replace("'", '"')
    assert run_emu("boot", "--case", f"v3 {text}").stderr == f"emu: {said}\n"


@pytest.mark.parametrize(
    "text",
    [
        "v3 bringup=parallel base=v3",
        "v3 topology=flat:1 bringup=parallel base=v3",  # as the run has it by itself
        "v3 append='acpi=force maxcpus=3'",
        "mainline bringup=parallel force=1",
        "v3 granule=128 memory=caches",
        "v3 fault=1:refuse-after-off cycle=1",
    ],
)
def test_what_acts_is_not_spoken_of(text: str) -> None:
    assert build(Case.parse(text)).notes == []


@pytest.mark.parametrize(
    ("word", "expected"),
    [("y", True), ("Yes", True), ("1", True), ("on", True), ("t", True)]
    + [("n", False), ("No", False), ("0", False), ("off", False), ("OF", False), ("false", False)],
)
def test_a_switch_takes_what_kstrtobool_takes(word: str, expected: bool) -> None:
    assert parse_parameters(f"cpuhp.parallel={word}").parallel is expected


@pytest.mark.parametrize("word", ["", "=", "=o", "=maybe", "=2", "= "])
def test_a_switch_that_the_kernel_calls_malformed_is_refused(word: str) -> None:
    with pytest.raises(InvalidCase, match="Malformed early option 'cpuhp.parallel'"):
        parse_parameters(f"cpuhp.parallel{word}")


@pytest.mark.parametrize("name", [name for name, kind in SCHEDULERS.items() if not kind.seeded and kind.fair])
def test_a_scheduler_without_a_seed_takes_none(name: str) -> None:
    with pytest.raises(InvalidCase, match=f"scheduler={name}:3: takes nothing behind its name"):
        make_scheduler(f"{name}:3")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (
            ("trace", "--ftrace", "t", "--grain", "operation"),
            "--grain operation: of the trace that -o FILE writes",
        ),
        (("step", "--grain", "free", "--script", "-"), "--grain free: a debugger goes by instructions"),
        (("gdb", "--grain", "operation"), "--grain operation: a debugger goes by instructions"),
        (
            ("gdb", "--print-script", "--symbols", "s", "--script", "t"),
            "--print-script and --script t: give one",
        ),
        (("explore", "--latency", "zero"), "latency=zero: no time passes while orders are tried"),
        (("explore", "--grain", "instruction"), "grain=instruction: an exploration goes by operations"),
        (("explore", "--scheduler", "random:1", "--preemptions", "2"), "--preemptions: of all orders"),
        (("explore", "--scheduler", "pct:1", "--no-reduction"), "--no-reduction: of all orders"),
    ],
)
def test_an_option_that_a_command_would_not_use_is_refused(words: tuple[str, ...], why: str) -> None:
    done = run_emu(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"emu: {why}")


def test_more_of_what_has_no_more_is_said() -> None:
    plain, verbose = run_emu("boot", "--json"), run_emu("boot", "-v", "--json")
    assert (verbose.returncode, verbose.stdout) == (0, plain.stdout)
    assert verbose.stderr == "emu: --verbose: --json and --ktap have no more to show\n"

"""The choices of a case: parsed and checked in one place, before anything is loaded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emu.case import Case
from emu.errors import InvalidCase
from emu.host.build import build
from emu.host.choices import KexecRequest, parse_case

EMU = Path(__file__).resolve().parents[2] / "emu"
# Each parser of a sub-language, and the modules besides emu/host/choices.py that name it.
PARSERS = {
    "parse_devices": {"devices/__init__.py"},
    "parse_faults": {"host/faults/__init__.py"},
    "parse_hotplug": {"host/vcpu/__init__.py"},
    "parse_kexec": {"host/identity.py"},
    "parse_parameters": {"host/parameters.py"},
}


@pytest.mark.parametrize("parser", PARSERS)
def test_a_sub_language_is_parsed_in_one_place(parser: str) -> None:
    users = {
        str(path.relative_to(EMU))
        for path in EMU.rglob("*.py")
        if re.search(rf"\b{parser}\b", path.read_text(encoding="utf-8"))
    }
    assert users == {"host/choices.py", *PARSERS[parser]}


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("latency=x", "latency=x: not one of nominal, zero"),
        ("grain=x", "grain=x: not one of free, operation, instruction"),
        (
            "scheduler=replay:0x3",
            "grain=free: a recorded schedule is one of operations; give grain=operation",
        ),
        ("scheduler=random:x", "scheduler=random:x: the seed after ':' is an integer"),
        ("hotplug=1:fly", "hotplug=1:fly: fly is not one of"),
        ("kexec=@1", "kexec=@1: SUBJECT or SUBJECT@CPU"),
        ("append=maxcpus=x", "append: maxcpus=x: maxcpus takes a number"),
        ("fault=9:late:3", "fault=9:late:3: the secondaries are CPU1..CPU7"),
    ],
)
def test_a_bad_choice_is_refused_before_the_subject_is_read(choice: str, message: str) -> None:
    with pytest.raises(InvalidCase) as caught:
        build(Case.parse(f"nowhere {choice}"))
    assert str(caught.value).startswith(message)


def test_the_configuration_has_every_text_parsed() -> None:
    config = parse_case(Case.parse("v3 kexec=mainline@2 hotplug=1:offline,2-3:online fault=1:late:5"))
    actions = [(one.first, one.last, one.action) for one in config.hotplug]
    methods = {cpu.enable_method for cpu in config.topology.cpus}
    assert config.kexec == KexecRequest("mainline", 2)
    assert actions == [(1, 1, "offline"), (2, 3, "online")]
    assert [fault.argument for fault in config.faults[1]] == [5]
    assert (config.topology.conduit, methods) == ("smc", {"psci"})

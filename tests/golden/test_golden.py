"""The golden cases come out as they were recorded: status, text, JSON and traces, byte for byte.

Debian updates its kernels. A case of a kernel that was not recorded is held to what is true of any kernel:
it gives the same twice, and comes to the same at another grain.
"""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from golden.recording import Golden, Outputs, digests, identity, read_cases, read_recorded, record

_CASES = read_cases()
_RECORDED = read_recorded()
_COUNTED = ("instructions", "loads", "loads_mmu_off", "stores", "wfe_sleeps", "calls", "exceptions")
_HOW = """{name}: {what}
  emu {command}
  To see the difference, in this tree and in one that is right:
    PYTHONPATH={tests} .venv/bin/python -m golden record DIRECTORY {name}
    diff -r ONE_DIRECTORY OTHER_DIRECTORY
  If it is what you wanted: PYTHONPATH=tests .venv/bin/python -m golden update {name}"""


@pytest.mark.parametrize("case", _CASES, ids=[case.name for case in _CASES])
def test_case_gives_what_was_recorded(case: Golden) -> None:
    if case.kernel:
        kernel = identity(case.kernel)
        if kernel is None:
            pytest.skip(f"{case.kernel} names no kernel: tools/fetch-kernels")
        if _RECORDED[case.name]["kernel"] != kernel:
            _agrees_with_itself(case)
            return
    found, recorded = digests(case, record(case)), _RECORDED[case.name]
    names = [name for name in {**recorded, **found} if recorded.get(name) != found.get(name)]
    if names:
        what = f"{', '.join(names)} not as recorded"
        tests = "THIS_TREE/tests"
        pytest.fail(_HOW.format(name=case.name, command=case.command, what=what, tests=tests), pytrace=False)


def _agrees_with_itself(case: Golden) -> None:
    # What holds of a kernel that nobody has recorded.
    first = record(case)
    assert record(case) == first, f"{case.command}: not the same twice"
    if case.command.startswith("boot ") and "--grain" not in case.command:
        assert _gist(record(case, "--grain", "operation")) == _gist(first), (
            f"{case.command}: not at any grain"
        )


def _gist(outputs: Outputs) -> object:
    # What a boot comes to, whatever the grain.
    found = json.loads(outputs["json"])
    messages = [finding["message"] for finding in found["findings"]]
    cpus = [{key: cpu[key] for key in cpu if key not in _COUNTED} for cpu in found["cpus"]]
    return outputs["status"], found["dmesg"], messages, cpus


def test_every_case_is_recorded_and_nothing_else() -> None:
    assert list(_RECORDED) == [case.name for case in _CASES]
    assert all(count == 1 for count in Counter(case.name for case in _CASES).values())
    assert all(re.fullmatch("[a-z0-9-]+", case.name) for case in _CASES)


@pytest.mark.parametrize("name", ["kernel-small", "kernel-split-fault"])
def test_case_of_an_unknown_kernel_is_held_to_itself(name: str) -> None:
    (case,) = (case for case in _CASES if case.name == name)
    if identity(str(case.kernel)) is None:
        pytest.skip(f"{case.kernel} names no kernel: tools/fetch-kernels")
    _agrees_with_itself(case)

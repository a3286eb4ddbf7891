"""What every enable-method keeps to: it brings up the CPUs of every design."""

from __future__ import annotations

import pytest
from booting import run

from emu.case import Case
from emu.designs import DESIGNS
from emu.errors import InvalidCase
from emu.host.build import build
from emu.host.enable_method import METHOD_KINDS, make_enable_method
from emu.topology import FIRMWARES

every_method = pytest.mark.parametrize("name", METHOD_KINDS)
OF_FIRMWARE = [(name, firmware) for name, kind in METHOD_KINDS.items() for firmware in kind.firmwares]


@every_method
def test_it_is_described_by_some_firmware(name: str) -> None:
    firmwares = METHOD_KINDS[name].firmwares
    assert firmwares
    assert set(firmwares) <= set(FIRMWARES)


@every_method
def test_other_firmware_is_refused(name: str) -> None:
    for firmware in set(FIRMWARES) - set(METHOD_KINDS[name].firmwares):
        with pytest.raises(InvalidCase, match=f"^enable-method={name}: firmware={firmware} describes "):
            run(f"v3 topology=flat:2 enable-method={name} firmware={firmware}")


@pytest.mark.parametrize(("name", "firmware"), OF_FIRMWARE)
@pytest.mark.parametrize("design", DESIGNS)
def test_it_brings_all_cpus_up(name: str, firmware: str, design: str) -> None:
    done = run(f"{design} topology=flat:4 enable-method={name} firmware={firmware}")
    assert (done.messages, done.outcomes) == ([], ["online"] * 4)
    assert done.boot.guest.method_of(2) == name


@pytest.mark.parametrize("el", [1, 2])
@pytest.mark.parametrize(("name", "firmware"), OF_FIRMWARE)
def test_no_order_of_operations_matters_to_it(name: str, firmware: str, el: int) -> None:
    """Random schedules, caches that need maintenance, and event registers that are set or not."""
    for seed in range(4):
        done = run(
            f"v3 topology=flat:3 enable-method={name} firmware={firmware} el={el} scheduler=random:{seed} "
            f"grain=operation memory=caches event-register={seed % 2}"
        )
        assert (done.messages, done.outcomes) == ([], ["online"] * 3)


@every_method
def test_it_gives_the_same_twice(name: str) -> None:
    case = f"v3 topology=flat:3 enable-method={name}"
    assert run(case).trace_bytes == run(case).trace_bytes


@every_method
def test_a_cpu_goes_down_and_up_again_or_that_is_refused(name: str) -> None:
    case = f"v3 topology=flat:3 enable-method={name} cycle=1"
    boot = build(Case.parse(f"v3 topology=flat:3 enable-method={name}"))
    if not make_enable_method(boot.guest).can_die:
        with pytest.raises(InvalidCase, match=f"^cycle=1: enable-method {name} cannot take a CPU down"):
            run(case)
        return
    done = run(case)
    assert (done.messages, done.outcomes) == ([], ["online"] * 3)

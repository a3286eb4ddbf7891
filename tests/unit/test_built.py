"""What a kernel can do, from its symbols and its code."""

from __future__ import annotations

import pytest

from emu.host.built import Built, built_kernel
from emu.subject.symbols import Symbols

ASKS = "arch_cpuhp_init_parallel_bringup"
TRUE, OTHER_TRUE, RET = 0x5280_0020, 0x3200_03E0, 0xD65F_03C0
BTI, PACIASP, AUTIASP = 0xD503_245F, 0xD503_233F, 0xD503_23BF
LDR, CMP = 0xF940_0000, 0xF100_001F


def built(symbols: dict[str, int], code: list[int]) -> Built:
    def word(va: int) -> int:
        return code[(va - 0x1000) // 4]

    return built_kernel(Symbols.of(symbols), word, va_bits=48, looks_up=True, kicks=True)


@pytest.mark.parametrize("name", ["parallel_bringup_parse_param", "cpuhp_bringup_cpus_parallel"])
def test_hotplug_parallel_is_told_by_its_functions(name: str) -> None:
    assert built({name: 0x2000}, []).parallel is True
    assert built({"arch_cpuhp_kick_ap_alive": 0x2000}, []).parallel is False


@pytest.mark.parametrize(
    ("code", "asks"),
    [
        ([TRUE, RET], False),
        ([OTHER_TRUE, RET], False),
        ([BTI, TRUE, RET], False),
        ([PACIASP, TRUE, AUTIASP, RET], False),
        ([TRUE, LDR, RET], True),
        ([LDR, CMP, RET], True),
    ],
)
def test_the_weak_function_asks_for_no_enable_method(code: list[int], asks: bool) -> None:
    found = built({ASKS: 0x1000}, code)
    assert (found.parallel, found.asks_method) == (True, asks)


def test_an_inlined_one_is_taken_to_ask() -> None:
    assert built({"parallel_bringup_parse_param": 0x1000}, []).asks_method

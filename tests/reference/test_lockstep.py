"""Boot paths step by step on emu and QEMU: PC, SP, PSTATE and X0..X30 are the same after every instruction.

Every core and level walks our fragments here, a few of them a kernel; tools/lockstep-qemu walks all. What
reads differently and may is in `fields` of cores.py and UNLIKE of register_names.py: after such an MRS QEMU
goes on with emu's value.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from reference.boot_paths import LEVELS, SECONDARY_MAX, Walked, primary, secondary
from reference.cores import COMPARED
from reference.qemu import missing

PRIMARY_INSTRUCTIONS = 2000
# Core, entry level, version of the interrupt controller.
PRIMARIES = (("cortex-a72", 2, 3), ("max", 1, 2))
SECONDARIES = (("cortex-a72", 1, 2), ("neoverse-n1", 2, 3))

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


def _arrived(walked: Walked) -> None:
    assert not walked.found, "\n".join(walked.found)
    assert 50 < walked.instructions < SECONDARY_MAX


@pytest.mark.parametrize(("el", "gic"), [each for each in LEVELS if each != (1, 3)])
@pytest.mark.parametrize("core", COMPARED)
def test_secondary_path_of_a_fragment(core: str, el: int, gic: int) -> None:
    _arrived(secondary("mainline" if (el + gic) % 2 else "v3", COMPARED[core], el, gic))


@pytest.mark.parametrize(("core", "el", "gic"), PRIMARIES)
def test_primary_path_of_a_kernel(real_kernel: Callable[[str], Path], core: str, el: int, gic: int) -> None:
    walked = primary(real_kernel("EMU_KERNEL_612"), COMPARED[core], el, gic, PRIMARY_INSTRUCTIONS)
    assert not walked.found, "\n".join(walked.found)
    assert walked.instructions == PRIMARY_INSTRUCTIONS


@pytest.mark.parametrize(("core", "el", "gic"), SECONDARIES)
def test_secondary_path_of_a_kernel(real_kernel: Callable[[str], Path], core: str, el: int, gic: int) -> None:
    _arrived(secondary(real_kernel("EMU_KERNEL_612"), COMPARED[core], el, gic))

"""What every device keeps to: any access, equal accesses give the same, and a boot with it passes."""

from __future__ import annotations

import pytest
from booting import run
from hypothesis import given
from hypothesis import strategies as st

from emu.devices import DEVICES, parse_devices
from emu.devices.protocol import Board

every_device = pytest.mark.parametrize("name", DEVICES)


@every_device
def test_it_describes_itself(name: str) -> None:
    kind = DEVICES[name]
    assert kind.name == name
    assert kind.summary
    (placed,) = parse_devices(f"{name}@0x9000000")
    assert (placed.kind, len(placed.pas)) == (kind, kind.region_bytes)


@every_device
@given(
    accesses=st.lists(
        st.tuples(st.integers(0, 0x3FF), st.sampled_from([1, 2, 4]), st.none() | st.integers(0, 2**32 - 1)),
        max_size=40,
    )
)
def test_a_device_takes_any_access_and_does_the_same_each_time(
    name: str, accesses: list[tuple[int, int, int | None]]
) -> None:
    """Loads fit their size, deadlines are in the future, equal accesses at equal times give the same.

    What a device remembers can be put back at any time.
    """
    kind, runs = DEVICES[name], []
    assert kind.region_bytes > 0
    assert kind.region_bytes % 4096 == 0
    for _ in range(2):
        printed: list[str] = []
        levels: list[tuple[int, int, bool]] = []
        device = kind.device(Board(printed.append, lambda *level, levels=levels: levels.append(level)))
        seen = []
        for now, (word, size, value) in enumerate(accesses):
            offset = word * 4 % kind.region_bytes
            if value is None:
                loaded = device.load(0, offset, size, now)
                assert 0 <= loaded < 1 << 8 * size
                seen.append(loaded)
            else:
                device.store(0, offset, size, value & (1 << 8 * size) - 1, now)
            deadline = device.tick(now)
            assert deadline is None or deadline > now
            state = device.state()
            device.set_state(state)
            assert device.state() == state
        runs.append((seen, printed, levels))
    assert runs[0] == runs[1]


@every_device
@pytest.mark.parametrize("grain", ["free", "operation", "instruction"])
def test_a_sound_boot_passes_beside_it_at_every_grain(name: str, grain: str) -> None:
    done = run(f"v3 topology=flat:3 device={name}@0x9000000 grain={grain}")
    assert (done.messages, done.outcomes) == ([], ["online"] * 3)

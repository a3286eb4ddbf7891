"""The CPU in the bucket of the MPIDR's hash, when that CPU has the MPIDR's hwid.

Three tables: ``mpidr-hash`` says how to hash, ``hash-to-cpu`` has a logical id in each bucket, and ``hwid``
verifies it; a bucket whose number is beyond ``hwid`` is unused. Source: Linux v6.12
arch/arm64/kernel/sleep.S, compute_mpidr_hash, which verifies nothing: the CPUs that it is asked for exist.
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.lookup.models import Model, Tables

NAME = "hash"

_LEVEL_MASKS = (0xFF, 0xFF00, 0xFF_0000, 0xFF_0000_0000)


def _expected_many(
    logical_map: Sequence[int | None], tables: Tables, mpidrs: Sequence[int]
) -> list[int | None]:
    rule = tables["mpidr-hash"].data
    mask = int.from_bytes(rule[:8], "little")
    shifts = [int.from_bytes(rule[8 + 4 * level : 12 + 4 * level], "little") for level in range(4)]
    levels = [(mask & level, shift) for level, shift in zip(_LEVEL_MASKS, shifts, strict=True)]
    buckets, hwids = tables["hash-to-cpu"], tables["hwid"]
    found: list[int | None] = []
    for mpidr in mpidrs:
        hwid, bucket = mpidr & MPIDR_HWID_BITMASK, 0
        for level, shift in levels:
            bucket |= (hwid & level) >> shift
        cpu = buckets.entry(bucket) if bucket < len(buckets) else len(hwids)
        found.append(cpu if cpu < len(hwids) and hwids.entry(cpu) == hwid else None)
    return found


MODEL = Model(_expected_many, needs=("mpidr-hash", "hash-to-cpu", "hwid"))

"""Entry h is the logical number of the CPU whose MPIDR has the hash h; see ``mpidr-hash``.

Distinct hwids have distinct hashes. The first ``1 << bits`` entries are the buckets of that hash; buckets of
no CPU, and the entries behind, are unused, all ones unless said. The count is the number of entries that fit:
a map whose hash has more buckets does not fit, and its cases are left out. Unless said it is 4 for each CPU:
beyond that the kernel warns of a "Large number of MPIDR hash buckets". Source: Linux v6.12
arch/arm64/kernel/setup.c, smp_build_mpidr_hash().
"""

from __future__ import annotations

from emu.lookup.tables import DoesNotFit, LogicalMap, Shape, TableKind
from emu.lookup.tables.mpidr_hash import build_hash

NAME = "hash-to-cpu"


def _fill(logical_map: LogicalMap, shape: Shape) -> bytes:
    cpus = [(hwid, cpu) for cpu, hwid in enumerate(logical_map) if hwid is not None]
    found = build_hash(hwid for hwid, _ in cpus)
    if 1 << found.bits > shape.count:
        raise DoesNotFit(f"a hash of {found.bits} bits for a table of {shape.count} buckets")
    buckets = [shape.unused] * (1 << found.bits)
    taken: dict[int, int] = {}
    for hwid, cpu in cpus:
        bucket = found.bucket(hwid)
        if taken.setdefault(bucket, cpu) != cpu:
            raise DoesNotFit(f"CPU {taken[bucket]} and CPU {cpu} have the hash {bucket:#x}")
        buckets[bucket] = cpu
    return shape.pack(buckets)


KIND = TableKind(_fill, element=4, count="4 * NR_CPUS", per_cpu=False)

"""Mutated questions: a map and MPIDRs that differ a little from those of a question of the corpus."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.fuzz.questions import BITS, FLAGS, OTHER_BITS

_CHANGES_MAX = 4


def mutated_map(rng: Random, logical_map: Sequence[int | None], nr_cpus: int) -> tuple[int | None, ...]:
    """Return a map of ``nr_cpus`` places that differs a little from ``logical_map``; no hwid twice."""
    changed = list(logical_map[:nr_cpus])
    changed += [None] * (nr_cpus - len(changed))
    for _ in range(rng.randint(1, _CHANGES_MAX)):
        at, other, kind = rng.randrange(nr_cpus), rng.randrange(nr_cpus), rng.random()
        hwid = changed[at]
        if kind < 0.3:
            changed[at], changed[other] = changed[other], changed[at]
        elif kind < 0.45:
            changed[at] = None
        else:
            new = rng.getrandbits(40) if hwid is None or kind > 0.9 else hwid ^ 1 << rng.choice(BITS)
            new &= MPIDR_HWID_BITMASK
            if new not in changed:
                changed[at] = new
    return tuple(changed)


def mutated_mpidrs(rng: Random, mpidr: int, count: int) -> list[int]:
    """Return ``count`` raw MPIDR_EL1 (u64): ``mpidr``, then some a bit or the flags away."""
    found = [mpidr]
    while len(found) < count:
        hwid = mpidr & MPIDR_HWID_BITMASK
        if rng.random() < 0.7:
            hwid ^= 1 << rng.choice(BITS)
        flags = rng.choice(FLAGS) ^ (1 << rng.choice(OTHER_BITS) if rng.random() < 0.1 else 0)
        found.append(hwid | flags)
    return found

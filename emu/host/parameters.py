"""Kernel parameters that decide a bring-up (Documentation/admin-guide/kernel-parameters.txt)."""

from __future__ import annotations

from dataclasses import dataclass

from emu.errors import InvalidCase

FIRST_BOOT_ONLY = ("maxcpus", "nosmp", "nr_cpus")  # a kernel that kexec starts has its own


@dataclass(frozen=True, slots=True)
class Parameters:
    """``maxcpus`` CPUs online at most, the boot CPU among them; ``nr_cpus`` bounds the ids; None: not
    given.
    """

    maxcpus: int | None = None
    nr_cpus: int | None = None
    parallel: bool | None = None  # cpuhp.parallel=


def parse_parameters(text: str) -> Parameters:
    """Return the parameters in ``text`` that decide a bring-up; all others are ignored.

    :raises InvalidCase: a value that is not a number
    """
    maxcpus: int | None = None
    nr_cpus: int | None = None
    parallel: bool | None = None
    for word in text.split():
        key, _, value = word.partition("=")
        if key == "nosmp":
            maxcpus = 0
        elif key in ("maxcpus", "nr_cpus", "cpuhp.parallel"):
            try:
                number = int(value, 0)
            except ValueError:
                raise InvalidCase(f"append: {word}: {key} takes a number") from None
            if number < 0 or (key == "nr_cpus" and number == 0):
                raise InvalidCase(f"append: {word}: {number} CPUs")
            if key == "maxcpus":
                maxcpus = number
            elif key == "nr_cpus":
                nr_cpus = number
            else:
                parallel = bool(number)
    return Parameters(maxcpus, nr_cpus, parallel)

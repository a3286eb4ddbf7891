"""Kernel parameters that decide a bring-up (Documentation/admin-guide/kernel-parameters.txt)."""

from __future__ import annotations

from dataclasses import dataclass

from emu.errors import InvalidCase

FIRST_BOOT_ONLY = ("maxcpus", "nosmp", "nr_cpus")  # a kernel that kexec starts has its own

FIRMWARE_WORDS = ("acpi=off", "acpi=on", "acpi=force")  # they decide how firmware describes the CPUs


@dataclass(frozen=True, slots=True)
class Parameters:
    """``maxcpus`` CPUs online at most, the boot CPU among them; ``nr_cpus`` bounds the ids; None: not
    given.
    """

    maxcpus: int | None = None
    nr_cpus: int | None = None
    parallel: bool | None = None  # cpuhp.parallel=
    unused: tuple[str, ...] = ()  # words that decide nothing here


def parse_parameters(text: str) -> Parameters:
    """Return the parameters in ``text`` that decide a bring-up, and the words that do not.

    :raises InvalidCase: a value that the kernel calls malformed
    """
    unused: list[str] = []
    maxcpus: int | None = None
    nr_cpus: int | None = None
    parallel: bool | None = None
    for word in text.split():
        key, equals, value = word.partition("=")
        if key == "nosmp" and not equals:
            maxcpus = 0
        elif key == "cpuhp.parallel":
            parallel = _kstrtobool(value)
            if parallel is None:
                raise InvalidCase(
                    f"append: {word}: Malformed early option '{key}': y, t, 1, on, n, f, 0 or off"
                )
        elif key in ("maxcpus", "nr_cpus"):
            try:
                number = int(value, 0)
            except ValueError:
                raise InvalidCase(f"append: {word}: {key} takes a number") from None
            if number < 0 or (key == "nr_cpus" and number == 0):
                raise InvalidCase(f"append: {word}: {number} CPUs")
            if key == "maxcpus":
                maxcpus = number
            else:
                nr_cpus = number
        elif word not in FIRMWARE_WORDS and word not in unused:
            unused.append(word)
    return Parameters(maxcpus, nr_cpus, parallel, tuple(unused))


def _kstrtobool(text: str) -> bool | None:
    # What the kernel's kstrtobool() makes of it, Linux v6.12 lib/kstrtox.c; None: -EINVAL.
    head = text[:2].lower() if text[:1] in ("o", "O") else text[:1].lower()
    return {"y": True, "t": True, "1": True, "on": True, "n": False, "f": False, "0": False, "of": False}.get(
        head
    )

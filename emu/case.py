"""A case: all inputs that decide a run, with a one-line text form."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields

from emu.errors import InvalidCase
from emu.registry import not_one_of


def check_text(value: str, where: str) -> str:
    """Return ``value`` when it can name a file and be written to one.

    :raises InvalidCase: it has a NUL, or is not UTF-8
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidCase(f"{where}={value!r:.80}: not UTF-8") from None
    if "\0" in value:
        raise InvalidCase(f"{where}={value!r:.80}: a NUL in it")
    return value


TYPED = "-"  # for a file of input: standard input


# Numbers that are what they are when nobody says them, by another value than one that can be said.
_LEAST = {"boot_cpu": 0, "nr_cpus": 1, "primary_max": 1, "ram": 1, "turn": 1}


def check_said(name: str, value: object) -> None:
    """Check a number of a case that was said, which may not be the one of a field that nobody says.

    :param name: of the field
    :raises InvalidCase: it is
    """
    least = _LEAST.get(name)
    if least is not None and value == least - 1:
        raise InvalidCase(f"{name.replace('_', '-')}={value}: at least {least}; leave it out for the default")


@dataclass(frozen=True, slots=True)
class Case:
    """All inputs that decide a run. A case and a version of emu reproduce a run bit for bit."""

    subject: str  # a design's name or a path
    identity: str = ""  # SHA-256 prefix of the subject's bytes; checked when given
    topology: str = "flat:8"  # a preset, NAME or NAME:N, or a path
    boot_cpu: int = -1  # index into the topology; -1: the topology's own boot CPU
    nr_cpus: int = 0  # NR_CPUS of a fragment; 0: the number of CPUs
    bringup: str = "auto"  # the most parallel that the subject and the enable-method support
    firmware: str = ""  # how it describes the CPUs: devicetree or acpi; "": as in the topology
    enable_method: str = ""  # of all CPUs; "": as in the topology, else psci
    conduit: str = ""  # of PSCI; "": as in the topology, else smc
    el: int = 1
    scheduler: str = "round-robin"
    grain: str = "free"
    memory: str = "coherent"
    granule: int = 64  # writeback granule of memory=caches, bytes
    latency: str = "nominal"
    event_register: int = 0  # of every PE at power-on
    instructions_max: int = 500_000_000
    system_map: str = ""
    base: str = "auto"  # order of secondary_start_kernel(): 6.12 or v3
    fault: str = ""  # CPU:KIND[:N],...
    append: str = ""  # kernel parameters: maxcpus=, nr_cpus=, nosmp, cpuhp.parallel=
    cycle: int = 0
    hotplug: str = ""  # CPU:ACTION,...: vCPU hotplug after the boot
    kexec: str = ""  # SUBJECT@CPU or SUBJECT: the second subject, and the CPU it boots on
    design: str = ""  # host side of a .S subject: the design whose tables and slots it uses
    force: int = 0
    cpu: str = ""  # the core of CPUs of which the topology says none; "": cortex-a72
    device: str = ""  # NAME@PA,...: devices besides RAM
    asserts: str = ""  # properties, joined by ";" (emu.properties.language)
    primary_max: int = 0  # instructions of a kernel's primary to its take-over; 0: the default bound
    depth: str = ""  # "": as the subject has it, fragment or secondaries; whole: the kernel boots by itself
    gic: str = ""  # of depth=whole, as the next ones: the interrupt controller; "": gicv3
    ram: int = 0  # MiB; 0: what the CPUs need
    initrd: str = ""  # path of an initramfs
    input: str = ""  # path of what the console receives; -: what is typed
    dtb: str = (
        ""  # path of a device tree that describes the board and its CPUs; "": it is made from the topology
    )
    turn: int = 0  # instructions that a CPU runs before another may go; 0: 20,000
    irq_late: str = ""  # SEED:NS: interrupts reach their CPUs up to so many ns late; "": at once
    record_from: str = ""  # symbol: every access is in the trace from when a CPU first gets there
    until: str = ""  # where the boot ends: a symbol, panic, poweroff, or text of a line; "": all CPUs are up

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str) and len(value.splitlines()) > 1:
                raise InvalidCase(f"case: {field.name}={value!r}: a case is one line")
            if isinstance(value, str):
                check_text(value, f"case: {field.name.replace('_', '-')}")
        if not self.subject:
            raise InvalidCase("case '': begins with a subject")

    def text(self) -> str:
        """Return the one-line form: the subject, then what differs from the defaults."""
        parts = [shlex.quote(self.subject)]
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value != field.default:
                parts.append(f"{field.name.replace('_', '-')}={shlex.quote(str(value))}")
        return " ".join(parts)

    @classmethod
    def parse(cls, text: str) -> Case:
        """Return the case that ``text`` describes.

        :raises InvalidCase: an unknown key, or a value of the wrong type
        """
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise InvalidCase(f"case {text!r}: {error}") from None
        if not words:
            raise InvalidCase("case '': begins with a subject")
        known = {field.name.replace("_", "-"): field for field in fields(cls)[1:]}
        values: dict[str, str | int] = {"subject": words[0]}
        for word in words[1:]:
            key, equals, value = word.partition("=")
            if not equals or key not in known:
                raise InvalidCase(
                    f"case: {word}: {not_one_of(f'{key}=VALUE', [f'{name}=VALUE' for name in known])}"
                )
            name = known[key].name
            if name in values:
                raise InvalidCase(f"case: {word}: {key} is there twice")
            if isinstance(known[key].default, int):
                try:
                    values[name] = int(value, 0)
                except ValueError:
                    raise InvalidCase(f"case: {word}: {key} is an integer") from None
                check_said(name, values[name])
            else:
                values[name] = value
        return cls(**values)  # type: ignore[arg-type]

"""The JSON form of a topology: keys are the fields of :class:`emu.topology.Cpu` and ``Topology``."""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, fields
from typing import Any

from emu.arch import sysreg
from emu.errors import InvalidCase
from emu.registry import not_one_of
from emu.topology import Cpu, Topology, check_count

_CPU = {field.name: field for field in fields(Cpu)}
_TOPOLOGY = ("firmware", "conduit", "boot_cpu", "cpus")
# Bits of an integer field, and whether -1 is allowed ("the index in the list", "not described").
_BITS = {
    "hwid": (64, False),
    "midr": (32, False),
    "release_addr": (64, False),
    "parking_version": (32, False),
    "uid": (32, True),
    "interface": (32, True),
    "socket": (16, False),
    "cluster": (16, False),
    "core": (16, True),
    "thread": (16, False),
}
_CACHE_REGISTERS = ("CLIDR_EL1", "CTR_EL0")
_ID_REGISTERS = {
    name: encoding
    for encoding, name in sysreg.NAMES.items()
    if name.startswith("ID_") or name in _CACHE_REGISTERS
}
_CCSIDR = {sysreg.name(sysreg.ccsidr(cache)): sysreg.ccsidr(cache) for cache in sysreg.CACHES}
_HEX = ("hwid", "midr", "release_addr")


def parse_json(data: bytes, name: str) -> Topology:
    """Return the topology that a JSON text describes: ``{"boot_cpu": 0, "cpus": [{"hwid": "0x100"}, ...]}``.

    Numbers are JSON integers or strings such as ``"0x80000000"``; every key except ``hwid`` is optional.

    :param name: prefix of every error
    :raises InvalidCase: not JSON, or a value that breaks a rule
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidCase(f"{name}: not JSON: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("cpus"), list):
        raise InvalidCase(f'{name}: a topology is {{"cpus": [{{"hwid": ...}}, ...]}}')
    unknown = sorted(set(found) - set(_TOPOLOGY))
    if unknown:
        raise InvalidCase(f"{name}: {unknown[0]}: {not_one_of(unknown[0], _TOPOLOGY)}")
    check_count(len(found["cpus"]), f"{name}: cpus")
    cpus = tuple(_cpu(entry, f"{name}: cpus[{index}]") for index, entry in enumerate(found["cpus"]))
    boot = found.get("boot_cpu", 0)
    boot_cpu = (
        _cpu(boot, f"{name}: boot_cpu")
        if isinstance(boot, dict)
        else _number(boot, f"{name}: boot_cpu", 16, False)
    )
    texts = {key: _text(found[key], f"{name}: {key}") for key in ("firmware", "conduit") if key in found}
    return Topology(name, cpus, boot_cpu, **texts)


def to_json(topology: Topology) -> dict[str, Any]:
    """Return the object that :func:`parse_json` reads as ``topology``, without default values."""
    boot = topology.boot_cpu
    found: dict[str, Any] = {"firmware": topology.firmware}
    if topology.conduit:
        found["conduit"] = topology.conduit
    found["boot_cpu"] = boot if isinstance(boot, int) else _cpu_json(boot)
    found["cpus"] = [_cpu_json(cpu) for cpu in topology.cpus]
    return found


def _cpu_json(cpu: Cpu) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in _CPU.items():
        value = getattr(cpu, name)
        if value == _default(field):
            continue
        if name == "id_registers":
            value = {sysreg.name(encoding): f"{bits:#x}" for encoding, bits in value.items()}
        elif name in _HEX:
            value = f"{value:#x}"
        found[name] = value
    return found


def _default(field: Field[Any]) -> object:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def _cpu(entry: object, where: str) -> Cpu:
    if not isinstance(entry, dict) or "hwid" not in entry:
        raise InvalidCase(f"{where}: a CPU is an object with a hwid")
    unknown = sorted(set(entry) - set(_CPU))
    if unknown:
        raise InvalidCase(f"{where}.{unknown[0]}: {not_one_of(unknown[0], _CPU)}")
    values: dict[str, Any] = {}
    for name, value in entry.items():
        at = f"{where}.{name}"
        if name in _BITS:
            values[name] = _number(value, at, *_BITS[name])
        elif name == "id_registers":
            values[name] = _id_registers(value, at)
        elif isinstance(_CPU[name].default, bool):
            if not isinstance(value, bool):
                raise InvalidCase(f"{at}={value!r}: true or false")
            values[name] = value
        else:
            values[name] = _text(value, at)
    return Cpu(**values)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.isprintable() or not value.isascii() or len(value) > 64:
        raise InvalidCase(f"{where}={value!r:.80}: a string of at most 64 printable ASCII characters")
    return value


def _number(value: object, where: str, bits: int, minus_one: bool) -> int:
    try:
        number = int(value, 0) if isinstance(value, str) else value
    except ValueError:
        number = None
    if minus_one and number == -1 and not isinstance(number, bool):
        return -1
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << bits:
        raise InvalidCase(f"{where}={value!r:.80}: an integer of at most {bits} bits")
    return number


def _id_registers(value: object, where: str) -> dict[sysreg.Encoding, int]:
    if not isinstance(value, dict):
        raise InvalidCase(f"{where}: an object of register name to value")
    found = {}
    for name, bits in value.items():
        encoding = _ID_REGISTERS.get(name) or _CCSIDR.get(name)
        if encoding is None:
            known = [*sorted(_ID_REGISTERS), *_CCSIDR]
            raise InvalidCase(f"{where}: {name}: {not_one_of(name, known)}")
        found[encoding] = _number(bits, f"{where}.{name}", 32 if name in _CCSIDR else 64, False)
    return found

"""Virtual CPU hotplug after the boot: the actions of a case and their preconditions.

The VMM's part is in :mod:`emu.host.vcpu.vmm`, the kernel's in :mod:`emu.host.vcpu.hotplug`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from emu.errors import InvalidCase
from emu.host.logical_map import LogicalMap
from emu.registry import not_one_of

# Action: whether it needs a machine with ACPI.
ACTIONS = {
    "add": True,
    "remove": True,
    "notify": True,
    "vanish": True,
    "online": False,
    "offline": False,
    "kick": False,
    "allow": False,
    "deny": False,
}
_SPEC = re.compile(r"(\d{1,20})(?:-(\d{1,20}))?:([a-z]+)")


@dataclass(frozen=True, slots=True)
class HotplugRequest:
    """One specification: ``action`` for the logical CPUs ``first`` to ``last``, in this order."""

    text: str
    first: int
    last: int
    action: str


def parse_hotplug(text: str) -> list[HotplugRequest]:
    """Return the requests of a comma-separated list, in order.

    :raises InvalidCase: a malformed specification, an unknown action, or CPU0
    """
    found = []
    for spec in filter(None, text.split(",")):
        match = _SPEC.fullmatch(spec)
        if not match:
            raise InvalidCase(f"hotplug={spec}: CPU:ACTION or FIRST-LAST:ACTION")
        first, action = int(match[1]), match[3]
        last = int(match[2] or first)
        if action not in ACTIONS:
            raise InvalidCase(f"hotplug={spec}: {action} is {not_one_of(action, ACTIONS)}")
        if first > last:
            raise InvalidCase(f"hotplug={spec}: the first CPU of a range is not above the last")
        if not first:
            raise InvalidCase(f"hotplug={spec}: CPU0 carries the actions out; name a secondary")
        found.append(HotplugRequest(spec, first, last, action))
    return found


def plan(
    requests: Sequence[HotplugRequest],
    logical: LogicalMap,
    *,
    firmware: str,
    can_die: bool,
    method: str,
    bringup: str,
) -> list[tuple[int, str]]:
    """Return (logical CPU, action) in the order in which they happen.

    :param firmware: kind of the machine's description, "devicetree" or "acpi"
    :param can_die: whether the enable-method ``method`` can take a CPU down
    :param bringup: the strategy; a serial one has no state ``cpu:kick_ap``
    :raises InvalidCase: an action that this machine or this kernel does not support
    """
    found: list[tuple[int, str]] = []
    for request in requests:
        _check(request, logical, firmware)
        if not can_die:
            raise InvalidCase(
                f"hotplug={request.text}: enable-method {method} cannot take a CPU down; psci can"
            )
        if request.action == "kick" and bringup == "serial":
            raise InvalidCase(
                f"hotplug={request.text}: bringup={bringup} has no state cpu:kick_ap; split and parallel do"
            )
        found += [(cpu, request.action) for cpu in range(request.first, request.last + 1)]
    return found


def _check(request: HotplugRequest, logical: LogicalMap, firmware: str) -> None:
    if ACTIONS[request.action] and firmware != "acpi":
        raise InvalidCase(
            f"hotplug={request.text}: {request.action} needs firmware=acpi; a devicetree has no _STA"
        )
    last = min(request.last, len(logical.cpus))  # the number after the last one is missing, too
    missing = next((cpu for cpu in range(request.first, last + 1) if cpu not in logical.possible), None)
    if missing is None and request.first > last:
        missing = request.first
    if missing is not None:
        raise InvalidCase(f"hotplug={request.text}: CPU{missing} is not possible; {_listed(logical)} are")


def _listed(logical: LogicalMap) -> str:
    # CPU1..CPU7, or a list when there are holes.
    cpus: Sequence[int] = sorted(logical.possible - {0})
    if not cpus:
        return "no secondaries"
    if cpus == list(range(cpus[0], cpus[-1] + 1)):
        return f"CPU{cpus[0]}..CPU{cpus[-1]}"
    return ", ".join(f"CPU{cpu}" for cpu in cpus)

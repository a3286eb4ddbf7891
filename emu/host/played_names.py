"""The names of all kernel functions that the host plays, also in boots other than this one."""

from __future__ import annotations

from emu.host import kexec  # noqa: F401 - it declares what it plays
from emu.host.bringup import STRATEGIES
from emu.host.enable_method import METHODS
from emu.host.played import declared_names


def played_names() -> frozenset[str]:
    """Return them: of every enable-method, every bring-up, and kexec."""
    assert [*STRATEGIES.values(), *METHODS.values()]  # a registry loads its entries when they are asked for
    return declared_names()

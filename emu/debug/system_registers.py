"""System registers of the CPUs that are debugged: those of the CPU's own table, by name, and their fields."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from emu.arch import sysreg
from emu.arch.fields import FieldValue, decode, outside, syndrome
from emu.arch.sysreg import Encoding
from emu.cpu.pe import PE
from emu.cpu.sysregs import vhe
from emu.cpu.sysregs.access import has_register, look
from emu.cpu.sysregs.row import NEVER, Row
from emu.cpu.sysregs.rows import BY_NAME, TABLE
from emu.devices.controllers import icc
from emu.errors import InvalidCase
from emu.machine import Machine
from emu.registry import nearest

_HOSTED = re.compile(r"(\w+_EL[01])2")  # _EL12 and _EL02, as EL2 calls EL1's and EL0's registers with E2H
_WITHOUT_VALUE = ("RNDR", "RNDRRS")  # a read takes a number away
# Of an interrupt controller, which a machine may have.
_OF_GIC = {encoding: Row(name, encoding, write_el=None) for encoding, name in icc.NAMES.items()}
# All that a debugger can show: as the CPU's table has them, and those.
ROWS: tuple[Row, ...] = (
    *(row for row in TABLE.values() if row.read_el != NEVER and row.name not in _WITHOUT_VALUE),
    *_OF_GIC.values(),
)
_ROWS_BY_NAME = {row.name: row for row in ROWS}


class SystemRegisters:
    """The system registers of a machine's CPUs."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def row(self, name: str) -> Row | None:
        """Return the row of a register, in upper or lower case; ``SCTLR_EL12`` is SCTLR_EL1; or None."""
        upper = name.upper() if name.islower() or name == "CurrentEL" else name
        hosted = _HOSTED.fullmatch(upper)
        if hosted is not None and hosted[1] in _ROWS_BY_NAME and _is_hosted(BY_NAME[hosted[1]].encoding):
            upper = hosted[1]
        return _ROWS_BY_NAME.get(upper)

    def value_or_none(self, cpu: int, name: str) -> int | None:
        """Return a register (u64) of a CPU; None: it has none of that name."""
        row = self.row(name)
        return None if row is None or not self._has(cpu, row) else self.value(cpu, row)

    def _has(self, cpu: int, row: Row) -> bool:
        if row.encoding in _OF_GIC:
            return self._machine.devices.look_at_register(cpu, row.encoding) is not None
        return has_register(self._pe(cpu), row)

    def value(self, cpu: int, row: Row) -> int:
        """Return what an MRS on that CPU would read (u64), at a level that may."""
        if row.encoding in _OF_GIC:
            return self._machine.devices.look_at_register(cpu, row.encoding) or 0
        return look(self._pe(cpu), row, self._machine.interconnect)

    def field(self, cpu: int, name: str, field: str) -> int:
        """Return a field of a register.

        :raises InvalidCase: the CPU has no such register, or the register no such field
        """
        row = self._existing(cpu, name)
        found = {each.field.name: each.value for each in self.decoded(cpu, row)}
        if field not in found:
            fields = ", ".join(found) or "no fields"
            raise InvalidCase(f"{name}.{field}: {row.name} has {fields}")
        return found[field]

    def decoded(self, cpu: int, row: Row) -> list[FieldValue]:
        """Return the fields of a register of a CPU, by what the register holds now."""
        return decode(row.name, self.value(cpu, row), e2h=self._has_e2h(cpu))

    def reserved(self, cpu: int, row: Row) -> int:
        """Return the bits of a register that are set and in no field."""
        return outside(row.name, self.value(cpu, row), e2h=self._has_e2h(cpu))

    def matching(self, cpu: int, pattern: str) -> list[Row]:
        """Return the registers that the CPU has and a pattern names (``*_EL2``), as the table has them.

        :raises InvalidCase: there is none
        """
        if not set("*?[") & set(pattern):
            return [self._existing(cpu, pattern)]
        found = [row for row in ROWS if fnmatchcase(row.name, pattern.upper()) and self._has(cpu, row)]
        if not found:
            raise InvalidCase(f"{pattern}: CPU{cpu} has no system register of such a name")
        return found

    def name_at(self, encoding: Encoding) -> str:
        """Return the name of a register by its encoding."""
        row = TABLE.get(encoding) or _OF_GIC.get(encoding)
        return row.name if row is not None else sysreg.name(encoding)

    def meaning(self, row: Row, value: int) -> str:
        """Return in words what the whole register says: of a syndrome; of others their fields say it."""
        return syndrome.words(value, self.name_at) if row.name.startswith("ESR_") else ""

    def _existing(self, cpu: int, name: str) -> Row:
        row = self.row(name)
        if row is None:
            near = nearest(name.upper(), list(_ROWS_BY_NAME))
            hint = f"; did you mean {near}?" if near else ""
            raise InvalidCase(f"{name}: no system register that emu knows{hint}")
        if not self._has(cpu, row):
            raise InvalidCase(f"{row.name}: CPU{cpu}, a {self._pe(cpu).core.name}, has no such register")
        return row

    def _has_e2h(self, cpu: int) -> bool:
        return bool(self._pe(cpu).sysreg(sysreg.HCR_EL2) & sysreg.HCR_E2H)

    def _pe(self, cpu: int) -> PE:
        return self._machine.actors[cpu].pe


def _is_hosted(encoding: Encoding) -> bool:
    # Whether EL2 has a name for it that ends in 2.
    return (3, 5, *encoding[2:]) in vhe.ENCODINGS

"""The target description: what registers gdb sees, as XML, system registers with the types of their fields.

Source: Debugging with GDB, appendix G (Target Descriptions), "AArch64 Features", "Enum Target Types".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from emu.arch.fields import FIELDS, WITH_E2H
from emu.arch.fields.field import Field, Fields
from emu.debug.system_registers import ROWS

_FLAGS = [("SP", 0), ("EL", 2, 3), ("nRW", 4), ("F", 6), ("I", 7), ("A", 8), ("D", 9), ("IL", 20), ("SS", 21)]
_FLAGS += [("PAN", 22), ("UAO", 23), ("V", 28), ("C", 29), ("Z", 30), ("N", 31)]
_ENUM_WIDTH_MAX = 8  # bits of a field whose values have names
_NO_WORD = re.compile(r"[^A-Za-z0-9]+")
_BY_VALUE = ("PAR_EL1",)  # what their fields are depends on one of them


@cache
def target_xml(*, with_vhe: bool) -> bytes:
    """Return the target description: core, FPU and system registers, in the order of their numbers.

    :param with_vhe: a CPU has FEAT_VHE: the layout of some registers depends on HCR_EL2.E2H, they are numbers
    """
    core = [f'<reg name="x{number}" bitsize="64"/>' for number in range(31)]
    core += ['<reg name="sp" bitsize="64" type="data_ptr"/>', '<reg name="pc" bitsize="64" type="code_ptr"/>']
    flags = "".join(f'<field name="{f[0]}" start="{f[1]}" end="{f[-1]}"/>' for f in _FLAGS)
    core.insert(0, f'<flags id="cpsr_flags" size="4">{flags}</flags>')
    core.append('<reg name="cpsr" bitsize="32" type="cpsr_flags"/>')
    parts = (("d", "ieee_double", 2), ("s", "ieee_single", 4), ("h", "uint16", 8), ("b", "uint8", 16))
    fpu = [f'<vector id="v{name}" type="{kind}" count="{count}"/>' for name, kind, count in parts]
    fields = "".join(f'<field name="{name}" type="v{name}"/>' for name, _, _ in parts)
    fpu.append(f'<union id="aarch64v">{fields}<field name="q" type="uint128"/></union>')
    fpu += [f'<reg name="v{number}" bitsize="128" type="aarch64v"/>' for number in range(32)]
    fpu += [f'<reg name="{name}" bitsize="32" type="int" group="float"/>' for name in ("fpsr", "fpcr")]
    system = _system(set(WITH_E2H) | set(_BY_VALUE) if with_vhe else set(_BY_VALUE))
    features = (("gnu.gdb.aarch64.core", core), ("gnu.gdb.aarch64.fpu", fpu), ("emu.system", system))
    body = "".join(f'<feature name="org.{name}">\n{_lines(items)}</feature>\n' for name, items in features)
    head = '<?xml version="1.0"?>\n<!DOCTYPE target SYSTEM "gdb-target.dtd">\n'
    return f"{head}<target>\n<architecture>aarch64</architecture>\n{body}</target>\n".encode()


def _system(numbers: set[str]) -> list[str]:
    types, registers = _Types(), []
    for row in ROWS:
        table = () if row.name in numbers else FIELDS.get(row.name, ())
        # gdb would show an address without the bits below it: TTBR0_EL1.BADDR as half of it.
        shown = any(not each.is_address for each in table)
        kind = types.flags(row.name, table) if shown else "uint64"
        registers.append(
            f'<reg name="{row.name}" bitsize="64" type="{kind}" group="system" save-restore="no"/>'
        )
    return [*types.lines, *registers]


class _Types:
    # The types that fields need, each once; `lines` has them in the order in which they need each other.

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._flags: dict[int, str] = {}  # by identity of the table
        self._enums: dict[tuple[tuple[int, str], ...], str] = {}

    def flags(self, name: str, table: Fields) -> str:
        if id(table) not in self._flags:
            self._flags[id(table)] = f"{name}_flags"
            rows = "".join(self._field(name, each) for each in table if not each.is_address)
            self.lines.append(f'<flags id="{name}_flags" size="8">{rows}</flags>')
        return self._flags[id(table)]

    def _field(self, register: str, each: Field) -> str:
        if each.width == 1:
            kind = "bool"
        elif each.values and each.width <= _ENUM_WIDTH_MAX:
            kind = self._enum(f"{register}_{each.name}", each.values)
        else:
            kind = "uint64"
        return f'<field name="{each.name}" start="{each.low}" end="{each.high}" type="{kind}"/>'

    def _enum(self, name: str, values: Mapping[int, str]) -> str:
        named = tuple((value, _NO_WORD.sub("_", words).strip("_")) for value, words in sorted(values.items()))
        if named not in self._enums:
            self._enums[named] = name
            rows = "".join(f'<evalue name="{words}" value="{value}"/>' for value, words in named)
            self.lines.append(f'<enum id="{name}" size="4">{rows}</enum>')
        return self._enums[named]


def _lines(items: list[str]) -> str:
    return "".join(f"{item}\n" for item in items)

"""A contract as text, so that its author can check how it was parsed."""

from __future__ import annotations

from emu.arch.mpidr import INVALID_HWID
from emu.lookup.contract import RETURN, Contract, Define, LookupTable, Place
from emu.lookup.tables import get_kind
from emu.lookup.toml_form import MPIDR_EL1


def write_contract(contract: Contract) -> str:
    """Return the parsed contract as text, one fact a line."""
    lines = [
        f"contract: from {contract.source}",
        f"begins at {_place(contract.entry)}, at EL{contract.el}, "
        + (f"with {contract.stack} bytes of stack" if contract.stack else "without a stack"),
        "MPIDR: "
        + ("the code reads MPIDR_EL1" if contract.mpidr == MPIDR_EL1 else f"raw, in {contract.mpidr}"),
        f"found: {_exit(contract.found)}, logical CPU number in {contract.index}",
        f"missing: {_missing(contract)}",
        f"may change: {', '.join(_changes(contract))}; every other register, and SP, comes out as it went in",
        f"instructions: at most {contract.instructions_max}" if contract.instructions_max else "",
        f"right: as the model {contract.model} says",
    ]
    lines += [_table_line(table) for table in contract.tables]
    lines.append(
        ("any other load but of a constant of its image" if contract.constants else "any other load")
        + (", and any store outside the stack," if contract.stack else ", and any store,")
        + " is a finding"
    )
    lines += [_define_line(name, define) for name, define in contract.defines.items()]
    return "".join(f"{line}\n" for line in lines if line)


def _place(place: Place) -> str:
    return f"{place:#x}" if isinstance(place, int) else place


def _exit(place: Place) -> str:
    return "returns" if place == RETURN else f"reaches {_place(place)}"


def _missing(contract: Contract) -> str:
    if contract.missing is None:
        return "never reaches an exit, waits or loops for ever"
    said = _exit(contract.missing if contract.missing_index is None else contract.found)
    if contract.missing_index is not None:
        none = contract.missing_index
        said += f" with {contract.index} = {none - 2**64 if none >> 63 else none}"
    return said + (", or never reaches an exit" if contract.parks else "")


def _changes(contract: Contract) -> list[str]:
    registers = sorted({contract.index, *contract.may_change}, key=lambda register: int(register[1:]))
    return [*registers, *([] if contract.preserve_flags else ["NZCV"])]


def _table_line(table: LookupTable) -> str:
    unused = get_kind(table.holds).unused if table.unused is None else table.unused
    parts = [f"reads {table.symbol}: u{8 * table.element}[{table.count}] of {table.holds}"]
    if not get_kind(table.holds).exact:
        parts.append(f"unused {_unused(unused, table)}")
    parts += [f"address in {table.base}"] if table.base else []
    parts += [f"number of entries in {table.length}"] if table.length else []
    return ", ".join(parts)


def _unused(unused: int | str, table: LookupTable) -> str:
    if isinstance(unused, str):
        return unused
    unused &= (1 << 8 * table.element) - 1
    return "INVALID_HWID" if unused == INVALID_HWID else hex(unused)


def _define_line(name: str, define: Define) -> str:
    tried = ", ".join(map(str, define.sweep))
    return f"{name} = {define.default}" + (f"; the corpus tries {tried}" if tried else "")

"""The TOML form of a contract, for text that cannot be changed: a user's file, a loop inside a kernel.

The keys are in docs/contracts.md. :func:`check` holds what every contract has to keep, whatever it was read
from.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from emu.arch.boot import NR_CPUS_MAX
from emu.arch.mpidr import INVALID_HWID
from emu.errors import InvalidContract
from emu.lookup.contract import ALIGNMENTS, RETURN, Contract, Define, LookupTable, Place
from emu.lookup.expression import evaluate, names_of
from emu.lookup.models import get_model
from emu.lookup.tables import ELEMENTS, get_kind, shape_of
from emu.registry import not_one_of

NR_CPUS = Define(256, (1, 2, 3, 255, 256, 257, 4095, 4096))  # where a contract defines none
MPIDR_EL1 = "mpidr_el1"
STACK_MAX = 64 << 10  # bytes
SIZE_MAX = 1 << 20  # bytes of a contract

_REGISTER = re.compile(r"x(?:[12]?[0-9]|30)")
_OFFSET = re.compile(r"[A-Za-z_.$][\w.$]{0,127}\+(0x[0-9a-fA-F]{1,8}|0|[1-9]\d{0,8})")  # of a symbol
_NAME = re.compile(r"[A-Za-z_.$][A-Za-z0-9_.$]*")
_DEFINE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+")
_LOOKUP_KEYS = (
    "entry",
    "found",
    "missing",
    "index",
    "missing_index",
    "mpidr",
    "may_change",
    "preserve_flags",
    "parks",
    "instructions_max",
    "constants",
    "el",
    "stack",
    "model",
)
_TABLE_KEYS = ("symbol", "element", "count", "holds", "unused", "base", "length", "align")


def read_contract(path: Path) -> Contract:
    """Return the contract in a TOML file.

    :raises InvalidContract: ``FILE: KEY=VALUE: rule``, or the file cannot be read
    """
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_MAX + 1)
    except (OSError, ValueError) as error:
        raise InvalidContract(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > SIZE_MAX:
        raise InvalidContract(f"{path}: over {SIZE_MAX} bytes: not a contract")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidContract(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None
    return parse_contract(text, str(path), path.parent)


def parse_contract(text: str, source: str, folder: Path = Path()) -> Contract:
    """Return the contract in TOML text.

    :param source: what messages call it
    :param folder: where ``model`` and ``holds`` look for a ``.py`` file
    :raises InvalidContract: not TOML, or a key or value that breaks a rule
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise InvalidContract(f"{source}: {_line(str(error))}") from None
    try:
        return check(_contract(document, source, folder))
    except InvalidContract as error:
        message = _line(str(error))
        raise InvalidContract(
            message if message.startswith(f"{source}: ") else f"{source}: {message}"
        ) from None


def check(contract: Contract) -> Contract:
    """Return ``contract`` when it can be kept: its places differ, its tables have sizes, and so on.

    :raises InvalidContract: ``KEY=VALUE: rule``, in the words of the TOML form
    """
    _check_places(contract)
    _check_registers(contract)
    for names in _settings(contract):
        for index, table in enumerate(contract.tables):
            _check_table(table, f"table[{index}]", names)
        _check_bound(contract, names)
    _check_model(contract)
    return contract


def _line(text: str) -> str:
    return " ".join(text.split())


def _bad(key: str, value: object, rule: str) -> InvalidContract:
    shown = repr(value)
    return InvalidContract(f"{key}={shown if len(shown) <= 60 else shown[:57] + '...'}: {rule}")


# --- from the document to the dataclasses: types and spelling of one value each


def _contract(document: Mapping[str, Any], source: str, folder: Path) -> Contract:
    _known(document, ("lookup", "defines", "table"), "")
    lookup = document.get("lookup")
    if not isinstance(lookup, dict):
        raise InvalidContract("no [lookup]: it names entry, found and index at least")
    _known(lookup, _LOOKUP_KEYS, "lookup.")
    for key in ("entry", "found", "index"):
        if key not in lookup:
            raise InvalidContract(f"lookup.{key}: missing; a contract names entry, found and index at least")
    entries = document.get("table", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _bad("table", entries, "tables are written as [[table]]")
    found = _place(lookup["found"], "lookup.found")
    missing = _place(lookup["missing"], "lookup.missing") if "missing" in lookup else None
    none = lookup.get("missing_index")
    if none is not None:
        none = _number(none, "lookup.missing_index", -(2**63), 2**64 - 1) % 2**64
        if missing not in (None, found):
            raise _bad("lookup.missing_index", lookup["missing_index"], f"{missing!r} says it already")
        missing = RETURN  # it ends where found does
    mpidr = _text(lookup.get("mpidr", MPIDR_EL1), "lookup.mpidr").lower()
    return Contract(
        source=source,
        entry=_place(lookup["entry"], "lookup.entry"),
        found=found,
        missing=missing,
        index=_register(lookup["index"], "lookup.index"),
        missing_index=none,
        mpidr=mpidr if mpidr == MPIDR_EL1 else _register(mpidr, "lookup.mpidr", f" or {MPIDR_EL1}"),
        may_change=_registers(lookup.get("may_change", []), "lookup.may_change"),
        preserve_flags=_boolean(lookup.get("preserve_flags", False), "lookup.preserve_flags"),
        parks=_boolean(lookup.get("parks", missing is None), "lookup.parks"),
        instructions_max=_expression(lookup.get("instructions_max", ""), "lookup.instructions_max"),
        constants=_boolean(lookup.get("constants", True), "lookup.constants"),
        el=_number(lookup.get("el", 1), "lookup.el", 1, 2),
        stack=_number(lookup.get("stack", 0), "lookup.stack", 0, STACK_MAX),
        model=_definition(lookup.get("model", "logical-map"), "lookup.model", folder),
        defines=_defines(document.get("defines", {})),
        tables=tuple(_table(entry, f"table[{index}].", folder) for index, entry in enumerate(entries)),
    )


def _table(entry: Mapping[str, Any], where: str, folder: Path) -> LookupTable:
    _known(entry, _TABLE_KEYS, where)
    holds = _definition(entry.get("holds", "hwid"), f"{where}holds", folder)
    try:
        kind = get_kind(holds)
    except InvalidContract as error:
        raise InvalidContract(f"{where}holds={error}") from None
    element = entry.get("element")
    if element is not None and (not isinstance(element, str) or element not in ELEMENTS):
        raise _bad(f"{where}element", element, f"one of {', '.join(ELEMENTS)}")
    base, length = (_register(entry[key], where + key) if key in entry else "" for key in ("base", "length"))
    if "symbol" not in entry and not base:
        raise InvalidContract(f"{where}symbol: missing; a table has a symbol, or a register as base")
    symbol = _text(entry.get("symbol", f"{base}_table"), f"{where}symbol")
    if not _NAME.fullmatch(symbol):
        raise _bad(f"{where}symbol", symbol, "a symbol: letters, digits, _ . $")
    return LookupTable(
        symbol=symbol,
        element=kind.element if element is None else ELEMENTS[element],
        count=_expression(entry.get("count", kind.count), f"{where}count"),
        holds=holds,
        unused=_unused(entry["unused"], f"{where}unused") if "unused" in entry else None,
        base=base,
        length=length,
        align=_align(entry["align"], f"{where}align") if "align" in entry else 0,
    )


def _align(value: object, where: str) -> int:
    if type(value) is not int or value not in ALIGNMENTS:
        raise _bad(where, value, f"a power of two, 1..{ALIGNMENTS[-1]}")
    return value


def _defines(value: object) -> dict[str, Define]:
    if not isinstance(value, dict):
        raise _bad("defines", value, "written as [defines]")
    found = {name: _define(name, entry) for name, entry in value.items()}
    return {"NR_CPUS": found.pop("NR_CPUS", NR_CPUS), **found}


def _define(name: str, entry: object) -> Define:
    where = f"defines.{name}"
    if not _DEFINE.fullmatch(name) or _REGISTER.fullmatch(name):
        raise InvalidContract(f"{where}: the name of a constant: letters, digits and _, and no register")
    least, most = (1, NR_CPUS_MAX) if name == "NR_CPUS" else (-(2**63), 2**64 - 1)
    if not isinstance(entry, dict):
        return Define(_number(entry, where, least, most))
    _known(entry, ("default", "sweep"), f"{where}.")
    if "default" not in entry:
        raise InvalidContract(f"{where}.default: missing; {{ default = 256, sweep = [1, 2, 256] }}")
    sweep = entry.get("sweep", [])
    if not isinstance(sweep, list):
        raise _bad(f"{where}.sweep", sweep, "a list of integers")
    return Define(
        _number(entry["default"], f"{where}.default", least, most),
        tuple(_number(v, f"{where}.sweep[{index}]", least, most) for index, v in enumerate(sweep)),
    )


def _known(mapping: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
    for key in mapping:
        if key not in keys:
            raise InvalidContract(f"{where}{_line(key)[:60]}: {not_one_of(key, keys)}")


def _place(value: object, where: str) -> Place:
    rule = "a label, 'symbol+0x10', 'symbol+16', 'ret', or an address (integer or '0x...', 64 bits)"
    if type(value) is int and 0 <= value < 2**64:
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value) and len(value) <= 18:
        return int(value, 16)
    if isinstance(value, str) and (_NAME.fullmatch(value) or _OFFSET.fullmatch(value)):
        return value
    raise _bad(where, value, rule)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise _bad(where, value, "a string")
    return value


def _boolean(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise _bad(where, value, "true or false")
    return value


def _number(value: object, where: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise _bad(where, value, f"an integer, {least}..{most}")
    return value


def _register(value: object, where: str, others: str = "") -> str:
    if not isinstance(value, str) or not _REGISTER.fullmatch(value):
        raise _bad(where, value, f"one of x0..x30{others}")
    return value


def _registers(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _bad(where, value, "a list of registers, x0..x30")
    return tuple(_register(register, f"{where}[{index}]") for index, register in enumerate(value))


def _expression(value: object, where: str) -> str:
    if type(value) is int:
        value = str(value) if abs(value) < 2**64 else "9" * 30
    if not isinstance(value, str):
        raise _bad(where, value, "an integer or an expression over the defines, as a string")
    if value:
        try:
            names_of(value)
        except InvalidContract as error:
            raise InvalidContract(f"{where}={error}") from None
    return value


def _unused(value: object, where: str) -> int | str:
    if value == "NR_CPUS":
        return "NR_CPUS"
    if value == "INVALID_HWID":
        return INVALID_HWID
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}|0[xX][0-9a-fA-F]{1,16}", value):
        value = int(value, 16 if value[:2] in ("0x", "0X") else 10)
    if type(value) is not int or not 0 <= value < 2**64:
        raise _bad(where, value, "a number of 64 bits, 'INVALID_HWID' or 'NR_CPUS'")
    return value


def _definition(value: object, where: str, folder: Path) -> str:
    # The name of a model or kind; that of a file becomes a path from here.
    text = _text(value, where)
    if not text.endswith(".py"):
        return text
    if "\0" in text:
        raise _bad(where, text, "a path")
    return str((folder / text).absolute())


# --- what values have to be to each other


def _check_places(contract: Contract) -> None:
    entry, found, missing = contract.entry, contract.found, contract.missing
    if entry == RETURN:
        raise _bad("lookup.entry", entry, "where the lookup begins: a label, a symbol or an address")
    for key, place in (("found", found), ("missing", missing)):
        if place == entry:
            raise _bad(f"lookup.{key}", place, "the entry itself: nothing would run")
    if contract.missing_index is not None and missing != RETURN:
        raise _bad("lookup.missing_index", contract.missing_index, f"{missing!r} says it already")
    if contract.missing_index is None and missing in (found, RETURN):
        why = "found is the same place" if missing == found else "only the index can say it there"
        raise _bad("lookup.missing", missing, f"{why}: say missing_index")
    if missing is None and not contract.parks:
        raise _bad(
            "lookup.parks", False, "nothing is left for an MPIDR of no CPU: say missing or missing_index"
        )


def _check_registers(contract: Contract) -> None:
    seen = set()
    for index, register in enumerate(contract.may_change):
        if register in seen:
            raise _bad(f"lookup.may_change[{index}]", register, "is there twice")
        seen.add(register)
    inputs: dict[str, str] = {} if contract.mpidr == MPIDR_EL1 else {contract.mpidr: "lookup.mpidr"}
    symbols: set[str] = set()
    for index, table in enumerate(contract.tables):
        if table.symbol in symbols:
            raise _bad(f"table[{index}].symbol", table.symbol, "is there twice")
        symbols.add(table.symbol)
        for key, register in (("base", table.base), ("length", table.length)):
            if not register:
                continue
            if key == "length" and inputs.get(register, "").endswith("length"):
                continue  # of two tables of one length
            if register in inputs:
                raise _bad(f"table[{index}].{key}", register, f"is {inputs[register]} already")
            inputs[register] = f"table[{index}].{key}"


def _settings(contract: Contract) -> list[dict[str, int]]:
    # The defaults, and each define's sweep beside the defaults of the others.
    defaults = {name: define.default for name, define in contract.defines.items()}
    swept = [defaults | {name: value} for name, define in contract.defines.items() for value in define.sweep]
    return [defaults, *swept]


def _check_table(table: LookupTable, where: str, names: Mapping[str, int]) -> None:
    kind = get_kind(table.holds)
    if kind.exact and (table.element, table.count) != (kind.element, kind.count):
        raise _bad(
            f"{where}.count",
            table.count,
            f"{table.holds} is {kind.count} of u{8 * kind.element}: leave both out",
        )
    try:
        shape = shape_of(table, names)
    except InvalidContract as error:
        raise InvalidContract(f"{where}.count={error}") from None
    unused = names["NR_CPUS"] if table.unused == "NR_CPUS" else table.unused
    if unused is not None and unused not in (shape.unused, INVALID_HWID):
        raise _bad(f"{where}.unused", table.unused, f"does not fit an entry of {8 * shape.element} bits")
    if kind.per_cpu and shape.count < names["NR_CPUS"]:
        raise _bad(
            f"{where}.count",
            table.count,
            f"{shape.count} entries for NR_CPUS={names['NR_CPUS']}; count NR_CPUS, or set it in [defines]",
        )


def _check_bound(contract: Contract, names: Mapping[str, int]) -> None:
    if not contract.instructions_max:
        return
    lengths = {t.length: evaluate(t.count, names) for t in contract.tables if t.length}
    try:
        bound = evaluate(contract.instructions_max, {**names, **lengths})
    except InvalidContract as error:
        raise InvalidContract(f"lookup.instructions_max={error}") from None
    if not 1 <= bound < 2**40:
        setting = ", ".join(f"{name}={value}" for name, value in names.items())
        raise _bad("lookup.instructions_max", contract.instructions_max, f"{bound} with {setting}: 1 or more")


def _check_model(contract: Contract) -> None:
    try:
        model = get_model(contract.model)
    except InvalidContract as error:
        raise InvalidContract(f"lookup.model={error}") from None
    held = [table.holds for table in contract.tables]
    for kind in model.needs:
        if kind not in held:
            raise _bad("lookup.model", contract.model, f"it needs a [[table]] that holds {kind!r}")

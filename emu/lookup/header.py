"""The contract in a fragment's header, and which contract a file has.

A header is a comment with eight fields (:mod:`emu.lookup.comment`). What is understood in each is in
docs/contracts.md and in :data:`emu.lookup.header_fields.UNDERSTOOD`; anything else is refused, so that
no text in a header stays unchecked.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from emu.designs import Design
from emu.errors import InvalidContract
from emu.lookup.comment import FIELDS, find_header
from emu.lookup.contract import Contract
from emu.lookup.header_fields import READERS, UNDERSTOOD, Draft, finish
from emu.lookup.toml_form import check, read_contract
from emu.lookup.words import write_contract
from emu.subject.fragment import asm_dir

__all__ = ["contract_for", "contract_of_design", "contract_of_header", "write_contract"]

ENTRY = "find"  # of a header without a title
SMALLEST = (  # lines of a TOML file
    "lookup = { entry = 'find', found = 'found', missing = 'missing', index = 'x19', may_change = ['x0'] }",
    "table = [{ symbol = '__cpu_logical_map' }]",
)


def contract_of_header(text: str, name: str) -> Contract | None:
    """Return the contract in the first header of assembly text, or None when it has none.

    :param name: the file, for messages
    :raises InvalidContract: ``FILE:LINE: FIELD: ...``: a field is not there or not understood
    """
    header = find_header(text, name)
    if header is None:
        return None
    draft = Draft(entry=header.title or ENTRY)
    for key, read in READERS.items():
        try:
            read(header.values[key], draft)
        except InvalidContract as error:
            where = f"{name}:{header.lines[key]}: {key}: "
            raise InvalidContract(f"{where}{error}; understood: {UNDERSTOOD[key]}") from None
    try:
        return check(finish(draft, name))
    except InvalidContract as error:
        raise InvalidContract(f"{name}:{header.lines['in']}: the header says {error}") from None


def contract_for(source: Path, contract: Path | None = None) -> Contract:
    """Return the contract of a file: the TOML given, else ``NAME.toml`` beside it, else its header.

    :param source: assembly text, an object or a kernel
    :raises InvalidContract: a contract that breaks a rule, or none at all: the message says what to write
    """
    if contract is not None:
        return read_contract(contract)
    plain = source.suffix in (".S", ".s", ".o", ".inc")
    beside = source.with_suffix(".toml") if plain else source.with_name(f"{source.name}.toml")
    if beside != source and beside.is_file():
        return read_contract(beside)
    found = None
    if source.suffix in (".S", ".s", ".inc"):
        try:
            found = contract_of_header(source.read_text(errors="replace"), str(source))
        except OSError as error:
            raise InvalidContract(f"{source}: {error.strerror}") from None
    if found is None:
        raise InvalidContract(
            f"{source}: no contract: neither a header with {', '.join(FIELDS)}, nor {beside.name} beside it, "
            f"nor --contract FILE; the smallest has two lines: {' and '.join(SMALLEST)}"
        )
    return found


def contract_of_design(design: Design) -> Contract | None:
    """Return the contract of a design's own lookup, or None when the design looks nothing up.

    What unused entries hold is the design's to say.
    """
    fragment = next((item for item in design.fragments if item.startswith("lookup/")), None)
    if fragment is None:
        return None
    text = (asm_dir() / f"{fragment}.S").read_text()
    contract = contract_of_header(text, f"asm/{fragment}.S")
    assert contract is not None, fragment
    tables = tuple(
        replace(table, unused=design.lookup_table_unused) if table.symbol == design.lookup_table else table
        for table in contract.tables
    )
    return replace(contract, tables=tables)

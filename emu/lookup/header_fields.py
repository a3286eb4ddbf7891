"""What each field of a header says: the phrases that are understood, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from emu.errors import InvalidContract
from emu.lookup.contract import ALIGNMENTS, RETURN, Contract, Define, LookupTable, Place
from emu.lookup.models import MODELS
from emu.lookup.tables import ELEMENTS, KINDS, get_kind
from emu.lookup.toml_form import MPIDR_EL1, NR_CPUS, STACK_MAX
from emu.registry import not_one_of

_X = r"(x(?:[12]?[0-9]|30))"
_NUMBER = r"(-?(?:0[xX][0-9a-fA-F]+|[0-9]+))"
_NAME = r"([A-Za-z_.$][\w.$]*)"
_ELEMENTS = "|".join(ELEMENTS)
_BOUND = re.compile(r",? (?:after at most|within) (.+?) instructions")
UNDERSTOOD = {
    "in": "'none', 'reads MPIDR_EL1', 'xN = MPIDR_EL1', 'xN = PA of ... table, u64[xM or NR_CPUS]', "
    "'xM = entries, 1..4096'; separated by ';'",
    "out": "'xN = logical CPU number', then ', 0..NR_CPUS-1' or ', or -1 when no entry matches'",
    "clobbers": "registers such as 'x2-x5', 'x0 (hwid)', NZCV, or 'none'; separated by ','",
    "memory": "'reads SYMBOL, u64[NR_CPUS] of KIND, unused VALUE' (the last two may be left out; several "
    "with 'and reads'), or 'reads [x0, x0 + 8*x1)'; then '; writes none'",
    "state": "'EL1', 'EL2' or 'EL1 or EL2'; 'MMU on', 'MMU off' or 'MMU on or off'; 'no stack' or 'N bytes "
    "of stack'; separated by ',', remarks behind ':'",
    "exits": "'ret' or 'falls through at LABEL', 'after at most N instructions' or 'within N instructions'; "
    "'else at LABEL', 'else from LABEL to ...', 'else branches to itself at LABEL for ever', 'else parks'",
    "model": f"{', '.join(MODELS)}; 'the logical id of hwid(MPIDR_EL1)'; 'first i with TABLE[i] == "
    "hwid(MPIDR_EL1)', and ' and != INVALID_HWID'; remarks behind ';'",
}


@dataclass(slots=True)
class Draft:
    """What the fields say, until all of them are read; as in Contract.

    :ivar flags: NZCV is among the clobbers
    :ivar bound: instructions_max
    :ivar length: register that counts entries, with the least and the most in ``lengths``
    """

    entry: Place
    found: Place = ""
    missing: Place | None = None
    index: str = ""
    missing_index: int | None = None
    mpidr: str = MPIDR_EL1
    may_change: list[str] = field(default_factory=list)
    flags: bool = False
    parks: bool = False
    bound: str = ""
    el: int = 1
    stack: int = 0
    model: str = ""
    tables: list[LookupTable] = field(default_factory=list)
    length: str = ""
    lengths: tuple[int, int] = (1, 4096)


def _refuse(text: str) -> InvalidContract:
    return InvalidContract(f"{text[:80]!r} is not understood")


def _clauses(text: str, separator: str = ";") -> list[str]:
    # Parts of a field, remarks in parentheses left out.
    plain = re.sub(r"\s*\([^()]*\)(?!\S)", "", text) if separator == ";" else text
    return [part.strip() for part in plain.split(separator) if part.strip()]


def _read_in(text: str, draft: Draft) -> None:
    for clause in _clauses(text):
        if clause == "none" or re.fullmatch(r"reads MPIDR_EL1", clause):
            continue
        if match := re.fullmatch(rf"{_X} = (?:the )?(?:raw )?MPIDR(?:_EL1)?\b.*", clause):
            draft.mpidr = match[1]
        elif match := re.fullmatch(
            rf"{_X} = (?:PA|address) of (?:the )?(.*?\btable|{_NAME}), ({_ELEMENTS})\[([^\]]+)\](.*)", clause
        ):
            _add_base(draft, match[1], match[3] or "", match[4], match[5], match[6])
        elif match := re.fullmatch(rf"{_X} = (?:number of )?entries(?:, {_NUMBER}\.\.{_NUMBER})?", clause):
            draft.length = match[1]
            if match[2]:
                draft.lengths = int(match[2], 0), int(match[3], 0)
                if not 1 <= draft.lengths[0] <= draft.lengths[1]:
                    raise InvalidContract(f"{match[2]}..{match[3]}: from at least 1 upwards")
        else:
            raise _refuse(clause)
    for index, table in enumerate(draft.tables):
        _check_length(table.length, draft)
        draft.tables[index] = replace(table, length=draft.length)


def _check_length(register: str, draft: Draft) -> None:
    if register and register != draft.length:
        raise InvalidContract(f"{register} counts the entries, but 'in' has no '{register} = entries'")


def _add_base(draft: Draft, base: str, symbol: str, element: str, count: str, rest: str) -> None:
    holds, unused, align = _attributes(rest)
    length = count if re.fullmatch(_X, count) else ""
    draft.tables.append(
        LookupTable(
            symbol=symbol or f"{base}_table",
            element=ELEMENTS[element],
            count="NR_CPUS" if length else count,
            base=base,
            length=length,
            holds=holds,
            unused=unused,
            align=align,
        )
    )


def _attributes(text: str) -> tuple[str, int | str | None, int]:
    # " of sorted-hwid, 8-byte aligned, unused 0": kind, unused value and alignment.
    align = 0
    if found := re.search(r", ([0-9]{1,4})-byte aligned", text):
        align, text = int(found[1]), text[: found.start()] + text[found.end() :]
        if align not in ALIGNMENTS:
            raise InvalidContract(f"{align}-byte aligned: a power of two, 1..{ALIGNMENTS[-1]}")
    match = re.fullmatch(
        rf"(?:of ([\w-]+))?(?:(?:^|,? )unused ({_NUMBER}|INVALID_HWID|NR_CPUS))?", text.strip(" ,")
    )
    if not match:
        raise _refuse(text.strip(" ,"))
    holds = match[1] or "hwid"
    if holds not in KINDS:
        raise InvalidContract(f"of {holds}: {not_one_of(holds, KINDS)}")
    if match[2] in (None, "NR_CPUS"):
        return holds, match[2], align
    value = 2**64 - 1 if match[2] == "INVALID_HWID" else int(match[2], 0)
    return holds, value % 2**64, align


def _read_out(text: str, draft: Draft) -> None:
    match = re.fullmatch(
        rf"{_X} = (?:the )?(?:logical (?:CPU number|id)|index)"
        rf"(?:, [^,;]*\.\.[^,;]*)?(?:,? or {_NUMBER}(?: when [^;]*)?)?(?:;.*)?",
        text,
    )
    if not match:
        raise _refuse(text)
    draft.index = match[1]
    if match[2]:
        draft.missing_index = int(match[2], 0)


def _read_clobbers(text: str, draft: Draft) -> None:
    for item in _clauses(re.sub(r"\s*\([^()]*\)", "", text), ","):
        match = re.fullmatch(rf"{_X}(?:-{_X})?", item)
        if item in ("NZCV", "flags"):
            draft.flags = True
        elif match:
            first, last = int(match[1][1:]), int((match[2] or match[1])[1:])
            if first > last:
                raise _refuse(item)
            draft.may_change += [f"x{number}" for number in range(first, last + 1)]
        elif item != "none":
            raise _refuse(item)


def _read_memory(text: str, draft: Draft) -> None:
    reads, _, writes = text.partition(";")
    if writes.strip() not in ("writes none", "writes the stack", "writes its stack"):
        raise _refuse(writes.strip() or text)
    for clause in re.split(r",? and (?=reads )|, (?=reads )", reads.strip()):
        if clause == "reads none":
            continue
        if match := re.fullmatch(rf"reads {_NAME}, ({_ELEMENTS})\[([^\]]+)\](.*)", clause):
            holds, unused, align = _attributes(match[4])
            length = match[3] if re.fullmatch(_X, match[3]) else ""
            _check_length(length, draft)
            count = "NR_CPUS" if length else match[3]
            element = ELEMENTS[match[2]]
            _merge(draft, LookupTable(match[1], element, count, holds, unused, length=length, align=align))
        elif match := re.fullmatch(rf"reads {_NAME} of ([\w-]+(?:, [0-9]+-byte aligned)?)", clause):
            holds, unused, align = _attributes(f"of {match[2]}")
            kind = get_kind(holds)
            _merge(draft, LookupTable(match[1], kind.element, kind.count, holds, unused, align=align))
        elif match := re.fullmatch(rf"reads \[{_X}, {_X} \+ (?:([1248]) ?\* ?)?{_X}\)", clause):
            size = int(match[3] or 1)
            known = [table for table in draft.tables if table.base == match[1] == match[2]]
            if not known or (known[0].element, known[0].length) != (size, match[4]):
                raise InvalidContract(f"{clause!r} is no table of 'in'")
        else:
            raise _refuse(clause)


def _merge(draft: Draft, table: LookupTable) -> None:
    # A table that 'in' has with a register already; what is said twice has to agree.
    for known in draft.tables:
        if known.symbol == table.symbol:
            if (known.element, known.holds) != (table.element, table.holds):
                raise InvalidContract(f"{table.symbol}: 'in' says something else")
            return
    draft.tables.append(table)


def _read_state(text: str, draft: Draft) -> None:
    for item in _clauses(re.sub(r"\s*\([^()]*\)", "", text.partition(":")[0]), ","):
        if match := re.fullmatch(r"EL([12])(?: or EL[12])?", item):
            draft.el = int(match[1])
        elif match := re.fullmatch(r"([0-9]{1,6}) bytes of stack", item):
            draft.stack = int(match[1])
            if draft.stack > STACK_MAX:
                raise InvalidContract(f"{item}: at most {STACK_MAX}")
        elif item not in ("MMU on", "MMU off", "MMU on or off", "MMU off or on", "no stack"):
            raise _refuse(item)


def _read_exits(text: str, draft: Draft) -> None:
    if match := _BOUND.search(text):
        draft.bound = match[1]
    for number, clause in enumerate(_clauses(_BOUND.sub("", text))):
        if number == 0:
            match = re.fullmatch(
                rf"(ret)(?:,.*)?|(?:falls through|to|reaches)(?: at)? {_NAME}(?:,.*)?", clause
            )
            if not match:
                raise _refuse(clause)
            draft.found = RETURN if match[1] else match[2]
        elif match := re.fullmatch(
            rf"else (?:(?:at|from|reaches) {_NAME}\b.*"
            rf"|(?:parks|branches to itself) at {_NAME}(?: for ever)?)",
            clause,
        ):
            draft.missing = match[1] or match[2]
        elif clause in ("else parks", "else parks for ever"):
            draft.parks = True
        else:
            raise _refuse(clause)


def _read_model(text: str, draft: Draft) -> None:
    stated = text.partition(";")[0].strip()
    first = re.fullmatch(
        r"first i with [\w.$]+\[i\] == hwid\((?:MPIDR(?:_EL1)?|mpidr)\)( and != INVALID_HWID)?", stated
    )
    if stated in MODELS:
        draft.model = stated
    elif re.fullmatch(r"(?:the )?logical (?:id|CPU number) of hwid\((?:MPIDR(?:_EL1)?|mpidr)\)", stated):
        draft.model = "logical-map"
    elif first:
        draft.model = "skip-invalid" if first[1] else "first-match"
    else:
        raise _refuse(stated)


def _read_source(text: str, draft: Draft) -> None:
    # Any text: where the code comes from.
    del text, draft


READERS = {
    "in": _read_in,
    "out": _read_out,
    "clobbers": _read_clobbers,
    "memory": _read_memory,
    "state": _read_state,
    "exits": _read_exits,
    "model": _read_model,
    "source": _read_source,
}


def finish(draft: Draft, name: str) -> Contract:
    """Return the contract that the fields make; ``name`` is where they are from."""
    none = None if draft.missing_index is None else draft.missing_index % 2**64
    missing = RETURN if none is not None and draft.missing is None else draft.missing
    least, most = draft.lengths
    sweep = tuple(value for value in NR_CPUS.sweep if least <= value <= most)
    default = min(max(NR_CPUS.default, least), most)
    return Contract(
        source=name,
        entry=draft.entry,
        found=draft.found,
        missing=missing,
        index=draft.index,
        missing_index=none,
        mpidr=draft.mpidr,
        may_change=tuple(dict.fromkeys(draft.may_change)),
        preserve_flags=not draft.flags,
        parks=draft.parks,
        instructions_max=draft.bound,
        el=draft.el,
        stack=draft.stack,
        model=draft.model,
        defines={"NR_CPUS": Define(default, sweep)},
        tables=tuple(draft.tables),
    )

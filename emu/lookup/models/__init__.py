"""Reference models: which logical CPU a lookup has to find. They share no code with what they judge.

A module here with ``NAME`` and ``MODEL`` is one model; its docstring says what is right, the first line in
short. A contract may also name a Python file with the same two (``model = "my_model.py"``).

A model is asked for many MPIDRs at once. It sees the logical map (a hwid, u64, or None for each logical CPU)
and the tables as they lie in memory, by what they hold.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.errors import InvalidCase, InvalidContract
from emu.lookup.user_file import load_definition
from emu.registry import discover, not_one_of, part_of

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_NO_HWID = tuple(byte for byte in range(8) if not MPIDR_HWID_BITMASK >> 8 * byte & 0xFF)  # of MPIDR_EL1


@dataclass(frozen=True, slots=True)
class InMemory:
    """One table as it lies in memory.

    :ivar element: bytes of an entry, 1, 2, 4 or 8
    :ivar data: all entries, little-endian
    """

    element: int
    data: bytes

    def __len__(self) -> int:
        return len(self.data) // self.element

    def entry(self, index: int) -> int:
        """Return entry ``index``, below ``len``, as an unsigned integer."""
        at = index * self.element
        return int.from_bytes(self.data[at : at + self.element], "little")

    def entries(self) -> tuple[int, ...]:
        """Return all entries as unsigned integers."""
        return struct.unpack(f"<{len(self)}{_CODES[self.element]}", self.data)


Tables = Mapping[str, InMemory]  # by what it holds: "hwid", "sorted-hwid" ...; of two alike the first
ExpectedMany = Callable[[Sequence[int | None], Tables, Sequence[int]], list[int | None]]


@dataclass(frozen=True, slots=True)
class Model:
    """What is right.

    :ivar expected_many: (logical map, tables, raw MPIDR_EL1 values) to the logical id for each of these
        values, None where the lookup has to miss
    :ivar needs: kinds of table that must be there
    :ivar literal: it takes any table at its word: two entries of one hwid, entries that are no hwids
    """

    expected_many: ExpectedMany
    needs: tuple[str, ...] = ()
    literal: bool = False

    def expected(self, logical_map: Sequence[int | None], tables: Tables, mpidr: int) -> int | None:
        """Return the logical id for one raw MPIDR_EL1 (u64), or None where the lookup has to miss."""
        return self.expected_many(logical_map, tables, (mpidr,))[0]


def answers_of(cpus: Mapping[int, int], mpidrs: Sequence[int]) -> list[int | None]:
    """Return the logical id in ``cpus`` of the hwid (u64) of each MPIDR (u64), or None: of all at once."""
    hwids, zeros = bytearray(array("Q", mpidrs)), bytes(len(mpidrs))
    for place in _NO_HWID:
        hwids[place::8] = zeros
    return list(map(cpus.get, memoryview(hwids).cast("Q")))


def get_model(name: str) -> Model:
    """Return the model called ``name``, or the one in that ``.py`` file.

    :raises InvalidContract: there is none, or the file does not define one
    """
    if name in MODELS:
        return MODELS[name]
    if not name.endswith(".py"):
        raise InvalidContract(f"{name!r}: {not_one_of(name, MODELS)}; or a .py file")
    _name, model = load_definition(Path(name), "MODEL", Model)
    return model


def expected_many(
    name: str, logical_map: Sequence[int | None], tables: Tables, mpidrs: Sequence[int]
) -> list[int | None]:
    """Return what the model called ``name`` expects for each of ``mpidrs`` (u64, raw).

    :raises InvalidContract: no such model, a table that it needs is not there, or a model of the user's own
        misbehaves
    """
    model = get_model(name)
    for kind in model.needs:
        if kind not in tables:
            raise InvalidContract(f"model {name!r}: needs a table that holds {kind!r}")
    if name in MODELS:
        return model.expected_many(logical_map, tables, mpidrs)
    try:
        found = model.expected_many(logical_map, tables, mpidrs)
    except InvalidCase:
        raise
    except Exception as error:  # theirs may raise anything
        raise InvalidContract(f"{name}: {type(error).__name__}: {error}") from error
    if not isinstance(found, list) or len(found) != len(mpidrs):
        raise InvalidContract(f"{name}: one answer for each of {len(mpidrs)} MPIDRs, as a list")
    for answer in found:
        if answer is not None and (type(answer) is not int or not 0 <= answer < 2**64):
            raise InvalidContract(f"{name}: {answer!r}: an answer is a logical id or None")
    return found


@dataclass(frozen=True, slots=True)
class LookupModelFile:
    """What a module of this folder defines.

    :ivar name: as contracts have it
    :ivar model: the model
    :ivar summary: what is right, in one line
    """

    name: str
    model: Model
    summary: str


MODELS = part_of(discover(__name__, LookupModelFile), lambda file: file.model)

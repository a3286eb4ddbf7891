"""Memory models: what a load may return, and when a store is seen by whom (:mod:`emu.models.protocol`).

A module or a folder here is one (:class:`ModelFile`), but for ``protocol``.
"""

from __future__ import annotations

from dataclasses import dataclass

from emu.errors import InvalidCase
from emu.models.protocol import MemoryModel
from emu.registry import choose, discover, part_of


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What a module or a folder here defines.

    :ivar name: the word of ``--memory``
    :ivar model: the memory model
    :ivar summary: what a load returns in it, in one line
    """

    name: str
    model: MemoryModel
    summary: str


BESIDES = ("protocol",)
MODELS = part_of(discover(__name__, ModelFile), lambda file: file.model)


def models_with_records() -> str:
    """Return the option that makes a trace have the records of a memory model: ``--memory A or B``."""
    return "--memory " + " or ".join(name for name, model in MODELS.items() if model.records)


def memory_model(name: str, granule: int) -> MemoryModel:
    """Return the model of ``--memory`` and ``--granule``.

    :raises InvalidCase: no such model, or it has granules (bytes), and none like this
    """
    model = choose("memory", name, MODELS, InvalidCase)
    if model.granules and granule not in model.granules:
        raise InvalidCase(f"granule={granule}: not one of {', '.join(map(str, model.granules))}")
    return model

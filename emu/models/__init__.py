"""Memory models: what a load may return, and when a store is seen by whom (:mod:`emu.models.protocol`).

A module or a folder here that defines ``MODEL`` is registered by its name.
"""

from __future__ import annotations

import importlib
import pkgutil

from emu.errors import InvalidCase
from emu.models.protocol import MemoryModel

MODELS: dict[str, MemoryModel] = {}

for _info in pkgutil.iter_modules(__path__):
    _model: MemoryModel | None = getattr(importlib.import_module(f"{__name__}.{_info.name}"), "MODEL", None)
    if _model is not None:
        assert _model.name not in MODELS, f"two memory models named {_model.name}"
        MODELS[_model.name] = _model


def memory_model(name: str, granule: int) -> MemoryModel:
    """Return the model of ``--memory`` and ``--granule``.

    :raises InvalidCase: no such model, or neither it nor, if it has none, another has such a granule (bytes)
    """
    model = MODELS.get(name)
    if model is None:
        raise InvalidCase(f"memory={name}: not one of {', '.join(MODELS)}")
    granules = model.granules or sorted({size for each in MODELS.values() for size in each.granules})
    if granule not in granules:
        raise InvalidCase(f"granule={granule}: not one of {', '.join(map(str, granules))}")
    return model

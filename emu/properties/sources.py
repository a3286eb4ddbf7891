"""Where the texts of properties stand, besides comments of a ``.S``: a TOML file, an option."""

from __future__ import annotations

import tomllib
from pathlib import Path

from emu.errors import InvalidCase
from emu.properties.expression import KINDS
from emu.registry import not_one_of

SEPARATOR = ";"


def texts_of_option(texts: list[str]) -> list[tuple[str, str]]:
    """Return the properties of an option: texts, joined by ``;``, and paths of TOML files.

    :raises InvalidCase: a file that cannot be read, or has something else in it
    """
    found: list[tuple[str, str]] = []
    for text in texts:
        if text.endswith(".toml"):
            found += texts_of_toml(Path(text))
        else:
            found += [("assert", part.strip()) for part in text.split(SEPARATOR) if part.strip()]
    return found


def texts_of_toml(path: Path) -> list[tuple[str, str]]:
    """Return the properties of a TOML file: for each kind a text or a list of texts without the first word.

    :raises InvalidCase: FILE: KEY: what is wrong
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidCase(f"{path}: {error.strerror}") from None
    except ValueError as error:  # no UTF-8, no TOML, a number that Python does not read
        raise InvalidCase(f"{path}: no TOML: {error}") from None
    found = []
    for key, value in data.items():
        if key not in KINDS:
            raise InvalidCase(f"{path}: {key}: {not_one_of(key, KINDS)}")
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) for text in texts):
            raise InvalidCase(f"{path}: {key}: a text or a list of texts is expected")
        found += [(f"{path}: {key}", f"{key} {text}") for text in texts]
    return found

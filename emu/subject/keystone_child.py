"""Keystone in a process of its own: ``python -m emu.subject.keystone_child``, JSON in, JSON out.

Keystone 0.9.2 can abort or crash on input that is merely wrong, so nothing else may live in its process.

Input: ``{"job": "assemble" | "check", "address": PA, "lines": [...], "labels": [...], "externals": {...}}``.
``assemble`` answers ``{"code": base64, "addresses": [...]}`` or ``{"error": text, "undefined": [...]}``.
``check`` assembles each line alone and answers ``{"bad": index | null, "error": text}``; before each one it
writes its index to stdout on a line, so that a crash tells where it was.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

import keystone

# In front of the label addresses, behind the code. In hex: Keystone can hang on so large a decimal number.
_MARK = 0x5EC0_0DA2_D15E_A5ED


def _engine(externals: dict[str, int], undefined: list[str], fallback: int | None) -> Any:
    # A Keystone engine; an unknown symbol is noted, and resolves to the fallback when there is one.
    engine = keystone.Ks(keystone.KS_ARCH_ARM64, keystone.KS_MODE_LITTLE_ENDIAN)

    def resolve(symbol: bytes, value: Any) -> bool:
        name = symbol.decode()
        address = externals.get(name, fallback)
        if name not in externals:
            undefined.append(name)
        if address is None:
            return False
        value[0] = address % 2**64
        return True

    engine.sym_resolver = resolve
    return engine


def _assemble(engine: Any, text: str, address: int) -> bytes:
    code, _ = engine.asm(text, address, as_bytes=True)
    return code or b""


def assemble(job: dict[str, Any]) -> dict[str, Any]:
    """Assemble the whole text; label addresses come from a table put behind it in a second pass."""
    undefined: list[str] = []
    text = "\n".join(job["lines"]) + "\n"
    try:
        code = _assemble(_engine(job["externals"], undefined, None), text, job["address"])
        table = "".join(f".quad {name}\n" for name in job["labels"])
        whole = _assemble(
            _engine(job["externals"], undefined, None),
            f"{text}.balign 8\n.quad {_MARK:#x}\n{table}",
            job["address"],
        )
    except keystone.KsError as error:
        return {"error": str(error), "undefined": undefined}
    at = whole.rfind(_MARK.to_bytes(8, "little")) + 8
    end = at + 8 * len(job["labels"])
    addresses = [int.from_bytes(whole[i : i + 8], "little") for i in range(at, end, 8)]
    return {"code": base64.b64encode(code).decode(), "addresses": addresses}


def check(job: dict[str, Any]) -> dict[str, Any]:
    """Find the first line that does not assemble on its own, symbols being anything."""
    for index, line in enumerate(job["lines"]):
        print(index, flush=True)  # noqa: T201 - the protocol
        try:
            _assemble(_engine(job["externals"], [], job["address"]), line + "\n", job["address"])
        except keystone.KsError as error:
            return {"bad": index, "error": str(error)}
    return {"bad": None, "error": ""}


def main() -> None:
    """Read one job from stdin, write its answer as the last line of stdout."""
    job = json.load(sys.stdin)
    answer = {"assemble": assemble, "check": check}[job["job"]](job)
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()

"""Keystone in a process of its own: this file is a program, JSON in, JSON out.

Keystone 0.9.2 can abort, crash or hang on invalid text, so it runs in its own process.
It imports nothing of emu.

Input: ``job`` ("assemble" or "check"), ``address`` (PA of the first byte), ``lines``, ``instructions`` (a
bool a line), ``labels`` and ``externals`` (name to address). ``assemble`` answers ``code`` (base64),
``labels`` (addresses) and ``lines`` (address of each instruction, else null), or ``error`` and ``undefined``.
``check`` assembles each line alone and answers ``bad`` (index or null) and ``error``; before each line it
writes the index to stdout, so that the parent knows the line after a crash.
"""

from __future__ import annotations

import base64
import json
import resource
import sys
from contextlib import suppress
from typing import Any

import keystone

CPU_SECONDS_MAX = 2  # it can hang; usual is 0.1 s
ADDRESS_SPACE_BYTES_MAX = 1 << 30  # ".zero 1 << 40" must end this process, not the machine

# In front of the addresses, behind the code. Numbers go in hex: Keystone may take decimal digits for hex.
_MARK = 0x5EC0_0DA2_D15E_A5ED


def _assemble(text: str, address: int, undefined: list[str], fallback: int | None) -> bytes:
    # An unknown symbol is noted, and resolves to the fallback when there is one.
    engine = keystone.Ks(keystone.KS_ARCH_ARM64, keystone.KS_MODE_LITTLE_ENDIAN)

    def resolve(symbol: bytes, value: Any) -> bool:
        undefined.append(symbol.decode())
        if fallback is None:
            return False
        value[0] = fallback
        return True

    engine.sym_resolver = resolve
    code, _ = engine.asm(text, address, as_bytes=True)
    return code or b""


def assemble(job: dict[str, Any]) -> dict[str, Any]:
    """Assemble the whole text; addresses come from a table put behind it in a second pass."""
    undefined: list[str] = []
    address = job["address"]
    # Relative to a label: Keystone computes a wrong offset from a symbol of its resolver.
    externals = [f".set {name}, .Lfirst_byte + ({pa - address:#x})" for name, pa in job["externals"].items()]
    head = [".Lfirst_byte:", *externals]
    marked, names = [], list(job["labels"])
    for index, line in enumerate(job["lines"]):
        if job["instructions"][index]:
            names += [f".Lat_{index}", f".Lbehind_{index}"]
            marked += [f".Lat_{index}:", line, f".Lbehind_{index}:"]
        else:
            marked.append(line)
    table = [".balign 8", f".quad {_MARK:#x}", *(f".quad {name}" for name in names), ""]
    try:
        code = _assemble("\n".join([*head, *job["lines"], ""]), address, undefined, None)
        whole = _assemble("\n".join([*head, *marked, *table]), address, undefined, None)
    except keystone.KsError as error:
        return {"error": str(error), "undefined": undefined}
    start = whole.rfind(_MARK.to_bytes(8, "little"))
    if start < 0:
        return {"error": "Keystone stopped early without an error", "undefined": undefined}
    words = whole[start + 8 : start + 8 + 8 * len(names)]
    places = {name: int.from_bytes(words[8 * i : 8 * i + 8], "little") for i, name in enumerate(names)}
    for index in range(len(job["lines"])):
        if job["instructions"][index] and places[f".Lbehind_{index}"] - places[f".Lat_{index}"] != 4:
            return {"error": "Keystone made no instruction of a line", "undefined": undefined}
    return {
        "code": base64.b64encode(code).decode(),
        "labels": [places[name] for name in job["labels"]],
        "lines": [places.get(f".Lat_{index}") for index in range(len(job["lines"]))],
    }


def check(job: dict[str, Any]) -> dict[str, Any]:
    """Find the first line that does not assemble alone, whatever the values of its symbols."""
    for index, line in enumerate(job["lines"]):
        sys.stdout.write(f"{index}\n")
        sys.stdout.flush()
        try:
            code = _assemble(line + "\n", job["address"], [], job["address"])
        except keystone.KsError as error:
            return {"bad": index, "error": str(error)}
        if job["instructions"][index] and not code:
            return {"bad": index, "error": "Keystone does not know this and gives no reason"}
    return {"bad": None, "error": ""}


def main() -> None:
    """Read one job from stdin and write its answer as the last line of stdout."""
    with suppress(ValueError, OSError):  # macOS does not limit it
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES_MAX, ADDRESS_SPACE_BYTES_MAX))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS_MAX, CPU_SECONDS_MAX + 1))
    job = json.load(sys.stdin)
    answer = {"assemble": assemble, "check": check}[job["job"]](job)
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()

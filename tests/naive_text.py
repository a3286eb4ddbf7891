"""Programs of tests/naive.py as A64 text."""

from __future__ import annotations

from collections.abc import Iterator

from naive import LOADS, PA_OF, Operation, Thread


def text_of(thread: Thread, entries: list[int]) -> str:
    """Return a thread as A64 text; x20 is the base of the words, and results come into x21, x22 ...

    :param entries: PA of each thread's program
    """
    lines = ["mov x20, x0"]
    register = 21
    for number, operation in enumerate(thread.operations):
        lines += _lines(operation, number, register, entries)
        register += results_of(operation)
    return "\n".join([*lines, "b ."])


def results_of(operation: Operation) -> int:
    """Return how many results an operation has."""
    return {"ldp": 2, "lxp": 2}.get(operation[0], int(operation[0] in LOADS))


def _lines(operation: Operation, number: int, register: int, entries: list[int]) -> Iterator[str]:
    name, *rest = operation
    if name in ("wfe", "sev", "sevl", "clrex"):
        yield name
        return
    if name == "dsb":
        yield "dsb sy"
        return
    if name == "on":
        target = rest[1]
        yield "movz x0, #3"
        yield "movk x0, #0xc400, lsl #16"
        yield f"mov x1, #{target}"
        yield f"movz x2, #{entries[target] & 0xFFFF}"
        yield f"movk x2, #{entries[target] >> 16}, lsl #16"
        yield "mov x3, x20"
        yield "smc #0"
        yield f"mov x{register}, x0"
        return
    word = rest[0] if name in ("st", "stp") else rest[1]
    yield f"add x9, x20, #{PA_OF[word]}"
    match name:
        case "ld":
            yield f"ldr x{register}, [x9]"
        case "ldp":
            yield f"ldp x{register}, x{register + 1}, [x9]"
        case "st":
            yield f"mov x10, #{rest[1]}"
            yield "str x10, [x9]"
        case "stp":
            yield f"mov x10, #{rest[1]}"
            yield f"mov x11, #{rest[1] + 1}"
            yield "stp x10, x11, [x9]"
        case "await":
            yield f"l{number}: ldr x{register}, [x9]"
            yield f"cbz x{register}, l{number}"
        case "lx":
            yield f"ldxr x{register}, [x9]"
        case "lxp":
            yield f"ldxp x{register}, x{register + 1}, [x9]"
        case "sxp":
            yield f"mov x10, #{rest[2]}"
            yield f"mov x11, #{rest[2] + 1}"
            yield f"stxp w{register}, x10, x11, [x9]"
        case "sx":
            yield f"mov x10, #{rest[2]}"
            yield f"stxr w{register}, x10, [x9]"
        case "add":
            yield f"l{number}: ldxr x{register}, [x9]"
            yield f"add x10, x{register}, #{rest[2]}"
            yield "stxr w11, x10, [x9]"
            yield f"cbnz w11, l{number}"
        case "inc":
            yield f"ldr x{register}, [x9]"
            yield f"add x10, x{register}, #{rest[2]}"
            yield "str x10, [x9]"
        case "wait":
            yield "sevl"
            yield f"l{number}: wfe"
            yield f"ldaxr x{register}, [x9]"
            yield f"cbz x{register}, l{number}"
        case "pen":
            yield f"l{number}: wfe"
            yield f"ldr x{register}, [x9]"
            yield f"cbz x{register}, l{number}"
        case "doze":
            yield f"l{number}: ldr x{register}, [x9]"
            yield f"cbnz x{register}, m{number}"
            yield "wfe"
            yield f"b l{number}"
            yield f"m{number}:"
        case "dc":
            yield f"dc {rest[0]}, x9"

"""Which code the CPUs of a boot can come to: what branches and addresses in the code lead to.

Below the whole depth CPUs start at a few places, and at secondary_start_kernel() the host goes on in their
stead: most of a kernel never runs there. This follows the code from those places, by direct branches and
calls, and by every address that the code makes (ADR, ADRP with ADD, a literal), which a branch to a register,
a return from an exception or a vector may go to. What it does not come to may still be reached by an address
that comes from data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from emu.arch import a64
from emu.debug.leads import VECTOR_BYTES, VECTORS_BYTES, goes_on, made_address
from emu.debug.target import DebugTarget
from emu.host.guest import Guest
from emu.host.kernel_kick import CLEANUP
from emu.host.kick import KICK
from emu.machine.actor import State

_STARTS = ("secondary_entry", "secondary_holding_pen")
_CALLED = (KICK, CLEANUP)  # where the kernel has them, the host lets the boot CPU call them
_VECTORS = "vectors"
# Where a kernel has code; each from the first symbol to the second. A subject without them has it anywhere.
_TEXT = (
    ("_stext", "_etext"),
    ("_sinittext", "_einittext"),
    ("__idmap_text_start", "__idmap_text_end"),
    ("__hyp_idmap_text_start", "__hyp_idmap_text_end"),
)
_LOOKED_AT_MAX = 30_000  # instructions; where there are more, nothing is said


def why_never(target: DebugTarget, pa: int) -> str:
    """Return why no CPU is known to come to the instruction at a PA, in words; empty: one may.

    At the whole depth, and before a kexec, all may run.
    """
    guest, machine = target.boot.guest, target.machine
    if not isinstance(guest, Guest) or target.boot.case.kexec:
        return ""
    reached, but = reached_code(target, guest)
    if reached is None or pa in reached:
        return ""
    starts = _known(guest, _STARTS)
    start = f" from where CPUs start ({', '.join(starts)})" if starts else ""
    played = next((target.places.describe(va) for va in machine.landings.tasks), "")
    behind = f"; from {played} on the host plays the kernel" if played else ""
    return f"no path leads there{start}{but}{behind}"


def reached_code(target: DebugTarget, guest: Guest) -> tuple[set[int] | None, str]:
    """Return the PAs of instructions that paths lead to (None: too many), and what is left out, in words."""
    machine = target.machine
    roots = [guest.subject.pa(name) for name in _known(guest, _STARTS)]
    roots += [guest.subject.pa(name) for name in _known(guest, _CALLED) if guest.design.split]
    roots += [
        target.code_pa(cpu)
        for cpu, actor in enumerate(machine.actors)
        if actor.task is None and actor.state is not State.OFF
    ]
    ends = {target.places.pa(va) for va in machine.landings.tasks}
    found = _reached(target, roots, ends)
    if found is not None or not _known(guest, (_VECTORS,)):
        return (None if found is None else found | ends), ""
    vectors = guest.subject.pa(_VECTORS)
    found = _reached(target, roots, ends.union(range(vectors, vectors + VECTORS_BYTES, VECTOR_BYTES)))
    return (None if found is None else found | ends), ", but for exceptions"


def _known(guest: Guest, names: Iterable[str]) -> list[str]:
    return [name for name in names if guest.subject.symbols.address(name) is not None]


def _reached(target: DebugTarget, roots: Iterable[int], ends: set[int]) -> set[int] | None:
    # PAs of the instructions that are come to; None: too many.
    text = _text(target)
    seen: set[int] = set()
    ahead = list(roots)
    while ahead:
        pa = ahead.pop()
        if text and not any(pa in part for part in text) and pa not in roots:
            continue
        while pa not in seen and pa not in ends and (word := target.places.word(pa)):
            seen.add(pa)
            if len(seen) > _LOOKED_AT_MAX:
                return None
            ahead += _leads_to(target, pa, word)
            if not goes_on(word):
                break
            pa += 4
    return seen


def _text(target: DebugTarget) -> list[range]:
    symbols, pa_of = target.boot.guest.subject.symbols, target.boot.guest.pa_of
    found = [(symbols.address(first), symbols.address(last)) for first, last in _TEXT]
    return [
        range(pa_of(first), pa_of(last)) for first, last in found if first is not None and last is not None
    ]


def _leads_to(target: DebugTarget, pa: int, word: int) -> Iterator[int]:
    # PAs that the instruction branches to, or makes the address of.
    branch = a64.branch_target(word, pa)
    called = a64.call_target(word, pa)
    if branch is not None:
        yield branch
    elif called is not None:
        yield called
    else:
        made = made_address(target.places.word, target.places.pa, pa, word)
        yield from _entries(made) if made is not None else ()


def _entries(pa: int) -> Iterator[int]:
    # Where code may begin at an address that is made: there, and at all vectors if it is a table of them.
    yield pa
    if not pa % VECTORS_BYTES:
        yield from range(pa, pa + VECTORS_BYTES, VECTOR_BYTES)

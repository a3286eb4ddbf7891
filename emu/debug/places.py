"""Places by name: instructions, data with fields, source lines; and the name of an address.

An instruction has one PA and up to two VAs, in the kernel image and in the identity map. A place names the
instruction, so a breakpoint that is set while the MMU is off also stops a CPU whose MMU is on.
"""

from __future__ import annotations

import re

from emu.arch import a64
from emu.arch.boot import CPU_BOOT_STATUS, CPU_BOOT_TASK, SECONDARY_DATA_SIZE
from emu.arch.mpidr import hwid
from emu.debug.bootdata import BootWord, kernel_words, words
from emu.debug.debugged import Code, Debugged
from emu.errors import InvalidCase
from emu.host.guest import Guest
from emu.host.played import function_at

_NUMBER = r"0x[0-9a-fA-F]+|\d+"
_DATA = re.compile(rf"\*?([A-Za-z_$][\w$]*|{_NUMBER})(?:\[(\d+)\])?(?:\.(\w+))?(?:\+({_NUMBER}))?")
_CODE = re.compile(r"\*?([A-Za-z_.$][\w.$]*|0x[0-9a-fA-F]+)(?:\+(0x[0-9a-fA-F]+|\d+))?")
_LINE = re.compile(r"([^:]+):(\d+)")
# Arrays of structures that the boot path has: bytes of an element, and its fields (offset, bytes).
_STRUCTS = {
    name: (SECONDARY_DATA_SIZE, {"task": (CPU_BOOT_TASK, 8), "status": (CPU_BOOT_STATUS, 8)})
    for name in ("secondary_data", "cpu_boot_data")
}
_LOOP_MAX = 4096  # bytes that a loop may span


def _number(digits: str, text: str) -> int:
    # A number within `text`, decimal or 0x.
    try:
        value = int(digits, 16 if digits.startswith("0x") else 10)
    except ValueError:  # more digits than Python reads
        value = 2**64
    if value >= 2**64:
        raise InvalidCase(f"{text:.80}: a number has 64 bits at most")
    return value


class Places:
    """Names of one boot's subject."""

    def __init__(self, boot: Debugged) -> None:
        self._boot = boot
        self._memory = boot.machine.memory
        self._words: list[BootWord] = []
        self._words_of: Code | None = None
        self._sizes: dict[int, int] = {}  # by PA, bytes of the word there

    @property
    def _guest(self) -> Code:
        return self._boot.guest  # kexec replaces it

    @property
    def words(self) -> list[BootWord]:
        """The words that the boot path shares."""
        if self._words_of is not self._guest:
            guest = self._guest
            if isinstance(guest, Guest):
                self._words = words(guest)
            else:  # a kernel that boots by itself
                mpidrs = [actor.pe.mpidr for actor in self._boot.machine.actors]
                self._words = kernel_words(guest, [hwid(mpidr) for mpidr in mpidrs])
            self._words_of = guest
            self._sizes = {word.pa: word.size for word in self._words}
        return self._words

    def units(self, pa: int, size: int) -> list[tuple[int, int]]:
        """Return PA and size of the words that lie in ``size`` bytes at a PA: 1, 2, 4 or 8 bytes each.

        Those that the boot path shares have their own size; of others they are 8, or up to the next of those.
        """
        found, known, end = [], self._sizes if self.words else {}, pa + size
        while pa < end:
            wide = known.get(pa) or next((at - pa for at in range(pa + 1, pa + 8) if at in known), 8)
            unit = next(each for each in (8, 4, 2, 1) if each <= min(wide, end - pa))
            found.append((pa, unit))
            pa += unit
        return found

    def pa(self, pc: int) -> int:
        """Return the PA of the instruction at a PC: a VA of the image or of the linear map, or a PA."""
        return self._guest.pa_of(pc) if pc >> 63 else pc

    def va(self, pc: int) -> int:
        """Return the VA that the subject's symbols have for a PC."""
        return pc if pc >> 63 else (pc + self._guest.subject.va_offset) % 2**64

    def describe(self, pc: int) -> str:
        """Return ``symbol+0x10`` for a PC; of a host task, by its PC in a trace record, function and line."""
        host = self._boot.machine.trace.location(pc)
        if host is not None:
            return f"{function_at(host)} ({host})"
        subject = self._guest.subject
        return subject.symbols.describe_pc(pc, subject.va_offset)

    def describe_return(self, va: int) -> str:
        """Return ``symbol+0x10`` for a return address: of the function that the call is in.

        Behind a call that does not return the next function may begin.
        """
        name, _, offset = self.describe(va - 4).partition("+")
        return f"{name}+{int(offset or '0', 16) + 4:#x}" if not name.startswith("0x") else f"{va:#x}"

    def instruction(self, text: str) -> int:
        """Return the PA of an instruction: ``symbol``, ``symbol+0x10``, ``FILE:LINE``, a PA or a VA.

        A line without an instruction stands for the next one of its file that has one.

        :raises InvalidCase: there is none of that name, or no instruction can be there
        """
        line = _LINE.fullmatch(text)
        if line:
            return self._line(text, line[1], _number(line[2], text))
        match = _CODE.fullmatch(text)
        if not match:
            raise InvalidCase(f"{text}: a place is a symbol, symbol+0x10, FILE:LINE, a PA or a VA")
        pa = self._address(match[1], text) + _number(match[2] or "0", text)
        if pa & 3:
            raise InvalidCase(f"{text}: {pa:#x} is in the midst of an instruction; they are 4 bytes, aligned")
        if not pa >> 63 and not self._memory.contains(pa, 4):
            raise InvalidCase(f"{text}: no memory at PA {pa:#x}")
        return pa

    def _line(self, text: str, file: str, number: int) -> int:
        lines = self._guest.subject.lines
        pa = lines.find(file, number)
        later = lines.after(file, number) if pa is None else None
        if later is not None:
            pa = lines.find(file, later)
        if pa is None:
            raise InvalidCase(f"{text}: no instruction of the subject is from that line")
        return pa

    def data(self, text: str) -> tuple[int, int]:
        """Return (PA, size in bytes) of data: ``symbol``, ``symbol[3].field``, ``symbol+8``, or an address.

        A word that the host plays has a name too, such as ``ap_sync_state[3]``. A symbol of several words,
        such as ``__boot_cpu_mode``, is all of them; one of unknown size has 8 bytes, or ends at the next one.

        :raises InvalidCase: there is none of that name, or no such field
        """
        parts = [word for word in self.words if word.name == text or word.name.startswith(f"{text}+")]
        if parts:
            return parts[0].pa, parts[-1].pa + parts[-1].size - parts[0].pa
        match = _DATA.fullmatch(text)
        if not match:
            raise InvalidCase(f"{text}: data is a symbol, symbol[3].field, symbol+8, a PA or a VA")
        name, index, member, offset = match.groups()
        pa = self._address(name, text) + _number(offset or "0", text)
        stride, fields = _STRUCTS.get(name, (8, {}))
        if index is not None:
            pa += stride * _number(index, text)
        if member is None:
            return pa, stride if fields else self._width(name, offset, index)
        if member not in fields:
            raise InvalidCase(f"{text}: {name} has {', '.join(fields) or 'no fields'}")
        return pa + fields[member][0], fields[member][1]

    def _width(self, name: str, offset: str | None, index: str | None) -> int:
        # Bytes of a symbol's data: 8, or 1, 2 or 4 when another symbol follows so near.
        symbols = self._guest.subject.symbols
        va = None if index or offset or name[0].isdigit() else symbols.address(name)
        behind = None if va is None else symbols.after(va)
        return behind - va if va is not None and behind is not None and behind - va in (1, 2, 4) else 8

    def _address(self, name: str, text: str) -> int:
        # PA of a symbol or of a number.
        if name[0].isdigit():
            return self.pa(_number(name, text))
        va = self._guest.subject.symbols.address(name)
        if va is None:
            raise InvalidCase(f"{text}: no symbol {name} in {self._guest.subject.name}")
        return self._guest.pa_of(va)

    def word(self, pa: int) -> int | None:
        """Return the instruction word (u32) at a PA, or None outside of memory."""
        return self._memory.read(pa, 4) if self._memory.contains(pa, 4) else None

    def loop(self, pc: int) -> tuple[int, int, list[int]] | None:
        """Return (first VA, last VA, VAs outside that it can go to) of the innermost loop around ``pc``.

        A loop is the range from the target of a backward branch to the branch; of those around the PC the
        shortest counts. VAs are in the address space of ``pc``.
        """
        here = self.pa(pc)
        best: tuple[int, int] | None = None
        for at in range(here, here + _LOOP_MAX, 4):
            target = self._target(at)
            if (
                target is not None
                and at - _LOOP_MAX < target <= here
                and (not best or at - target < best[1] - best[0])
            ):
                best = target, at
        if best is None:
            return None
        first, last = best
        exits = {last + 4}
        for at in range(first, last + 4, 4):
            target = self._target(at)
            if target is not None and not first <= target <= last:
                exits.add(target)
        shift = pc - here
        return first + shift, last + shift, sorted(va + shift for va in exits)

    def _target(self, pa: int) -> int | None:
        # PA that a direct branch at `pa` goes to; None for a call, which returns.
        word = self.word(pa)
        return None if word is None else a64.branch_target(word, pa)

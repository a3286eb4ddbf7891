"""Kernels as subjects: a raw or compressed Image, a vmlinux or a build tree, with symbols and layouts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from emu.arch.boot import DRAM_BASE
from emu.errors import InvalidCase, InvalidSubject, Untestable
from emu.subject import NO_LINES, Segment, Subject
from emu.subject.agreement import check_agreement, check_names, link_address
from emu.subject.elf import Elf
from emu.subject.image import ImageHeader, parse_header
from emu.subject.kallsyms import read_kallsyms
from emu.subject.kernel_files import KernelFiles, find_files, is_kernel
from emu.subject.layout import KernelLayout, kernel_layout
from emu.subject.lines import Lines
from emu.subject.recover import BootFunctions
from emu.subject.symbol_cache import cached_symbols, keep_symbols
from emu.subject.symbols import Symbols
from emu.subject.unwrap import read_file, unwrap

__all__ = ["KernelImage", "KernelLayout", "is_kernel", "load_kernel"]

_ALIGNMENT = 2 << 20  # of the load base and of KIMAGE_VADDR
_OLDEST = 5, 14  # its struct secondary_data is that of today
_RELEASE = re.compile(r"(\d{1,3})\.(\d{1,3})", re.ASCII)
_BANNER = re.compile(rb"Linux version (\S{1,64}) [^\0\n]{0,1024}\n")


@dataclass(frozen=True, slots=True)
class KernelImage:
    """A kernel ready to be loaded. Addresses are PAs unless stated otherwise; sizes in bytes.

    ``subject`` has one segment: the whole image at its load address, BSS zero-filled to ``image_size``.
    ``page_size`` is the granule, ``flags`` are the header's, ``version`` is the release in ``banner``.
    """

    subject: Subject
    version: str
    page_size: int
    text_offset: int
    flags: int
    image_size: int
    entry_pa: int
    layout: KernelLayout
    banner: str

    @property
    def is_flat(self) -> bool:
        """Whether it is a flat image (:mod:`emu.subject.flat`): a program that is no Linux."""
        return not self.banner


def load_kernel(
    path: Path,
    *,
    system_map: Path | None = None,
    vmlinux: Path | None = None,
    load_base: int = DRAM_BASE + 0x20_0000,
) -> KernelImage:
    """Load an arm64 kernel.

    Symbols come from ``system_map``, else ``vmlinux``, else a file beside the image, else its kallsyms.

    :param path: a raw Image, a compressed one, a vmlinux, or a build directory
    :param system_map: symbols, instead of those found beside the image, in it, or in ``vmlinux``
    :param vmlinux: the ELF the Image was made from, for symbols and layouts
    :param load_base: PA, 2 MiB aligned; the image goes text_offset bytes above it
    :raises InvalidSubject: a file that is missing, damaged, not arm64, or does not belong to the image
    :raises Untestable: no source of symbols, or none of the struct layouts
    :raises InvalidCase: load_base is not aligned
    :source: Linux v6.12 Documentation/arch/arm64/booting.rst
    """
    if load_base % _ALIGNMENT or not 0 <= load_base < 1 << 48:
        raise InvalidCase(f"load_base={load_base:#x}: must be a 48-bit PA, 2 MiB aligned (booting.rst)")
    files = find_files(path, system_map, vmlinux)
    name = str(files.image)
    data = unwrap(read_file(files.image), name)
    elf = Elf(data, name) if data.startswith(b"\x7fELF") else None
    image = elf.image()[1] if elf else data
    header = parse_header(image, name)
    with_lines = files.image if elf else files.vmlinux
    image = image[: header.image_size]  # a signature may follow
    banner = _banner(image, name)
    version = banner.split(" ")[2]
    with _of_release(version):
        sha256 = hashlib.sha256(image).hexdigest()
        source, given, elf = _symbols(files, elf)
        own = None if given and source == name else _own_symbols(image, sha256, name, header, given is None)
        symbols = given or own
        assert symbols is not None, "there are some, or it says that there are none"
        base_va = link_address(symbols, header, source)
        if given:
            check_agreement(given, image, base_va, header, source, name)
        if given and own:
            check_names(given, own, source, name)
        functions = BootFunctions(image, base_va, symbols)
        symbols = symbols.with_data(functions.recovered())
        load_pa = load_base + header.text_offset
        subject = Subject(
            name=name,
            identity=sha256[:16],
            segments=(Segment(load_pa, image, header.image_size),),
            symbols=symbols,
            va_offset=(base_va - load_pa) & (2**64 - 1),
            lines=_lines(with_lines, (base_va - load_pa) & (2**64 - 1)),
            constants=_constants(symbols, base_va - load_pa),
        )
        return KernelImage(
            subject=subject,
            version=version,
            page_size=header.page_size,
            text_offset=header.text_offset,
            flags=header.flags,
            image_size=header.image_size,
            entry_pa=load_pa,
            layout=kernel_layout(image, base_va, symbols, functions.task_layout(), elf, name),
            banner=banner,
        )


@contextmanager
def _of_release(version: str) -> Iterator[None]:
    # Whatever an older kernel is refused for, its age is the reason.
    try:
        yield
    except (InvalidSubject, Untestable) as error:
        numbers = _RELEASE.match(version)
        if numbers is None or (int(numbers[1]), int(numbers[2])) >= _OLDEST:
            raise
        oldest = ".".join(map(str, _OLDEST))
        raise type(error)(
            f"{error}; this is Linux {version}, and {oldest} is the oldest that boots"
        ) from None


def _constants(symbols: Symbols, va_offset: int) -> tuple[range, ...]:
    # PAs of read-only data (Linux include/asm-generic/vmlinux.lds.h, RO_DATA).
    start, end = symbols.address("__start_rodata"), symbols.address("__end_rodata")
    return () if start is None or end is None else (range(start - va_offset, end - va_offset),)


def _symbols(files: KernelFiles, elf: Elf | None) -> tuple[str, Symbols | None, Elf | None]:
    # Return (source, symbols, the ELF when one was read); None: the files have none, the image has to tell.
    # A vmlinux may have hundreds of MiB: read it once.
    if files.system_map:
        source = str(files.system_map)
        symbols = Symbols.parse(read_file(files.system_map), source)
        if not symbols:
            raise InvalidSubject(f"{source}: no symbols in it")
        return source, symbols, elf
    if elf is None and files.vmlinux:
        elf = Elf(read_file(files.vmlinux), str(files.vmlinux))
    text = elf.system_map() if elf else b""
    return (elf.name, Symbols(text), elf) if elf and text else (str(files.image), None, elf)


def _own_symbols(image: bytes, sha256: str, name: str, header: ImageHeader, required: bool) -> Symbols | None:
    # Those of its kallsyms, once they were checked; None: it has none that are believed, and need not.
    kept = cached_symbols(sha256)
    if kept:
        return kept
    try:
        found = Symbols(read_kallsyms(image, name))
        check_agreement(found, image, link_address(found, header, name), header, name, name)
    except (InvalidSubject, Untestable):
        if required:
            raise
        return None
    keep_symbols(sha256, found)
    return found


def _lines(vmlinux: Path | None, va_offset: int) -> Lines:
    # The ELF is read on the first query. pyelftools is imported only when there is a vmlinux.
    if vmlinux is None:
        return NO_LINES
    from emu.subject.dwarf import DwarfLines

    return DwarfLines(vmlinux, va_offset)


def _banner(image: bytes, name: str) -> str:
    match = _BANNER.search(image)
    if match is None:
        size = parse_header(image, name).image_size
        # The rest of image_size is BSS, which is not as long as that.
        cut = f", of {size} of its image_size: truncated, or" if 2 * len(image) < size else ":"
        raise InvalidSubject(
            f"{name}: no 'Linux version' banner in {len(image)} bytes{cut} not a Linux kernel"
        )
    return match[0].decode("latin-1").rstrip("\n")

"""Kernels as subjects: an Image, its wrappings, a vmlinux or a build directory, with symbols and layouts."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from emu.arch.boot import DRAM_BASE
from emu.errors import InvalidCase, InvalidSubject, Untestable
from emu.subject import Segment, Subject
from emu.subject.bootcode import TaskSetup, task_setup
from emu.subject.elf import Elf
from emu.subject.image import ImageHeader, has_magic, parse_header, peek, read_file, unwrap
from emu.subject.kallsyms import symbols_of_image
from emu.subject.layout import KernelLayout, find_btf, layout_from_btf, layout_from_code
from emu.subject.symbols import Symbols

_ALIGNMENT = 2 << 20  # of the load base and of KIMAGE_VADDR
_STUB_MAX = 4096  # bytes; Debian ships a one-line System.map
_BANNER = re.compile(rb"Linux version (\S+) [^\0\n]*\n")


@dataclass(frozen=True, slots=True)
class KernelImage:
    """A kernel ready to be put in memory. Addresses are PAs unless said; sizes in bytes.

    ``subject`` has one segment: the whole image at its load address, BSS zero-filled to ``image_size``.
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


@dataclass(frozen=True, slots=True)
class _Files:
    # What a path given by the user stands for.
    image: Path
    system_map: Path | None
    vmlinux: Path | None


def load_kernel(
    path: Path,
    *,
    system_map: Path | None = None,
    vmlinux: Path | None = None,
    load_base: int = DRAM_BASE + 0x20_0000,
) -> KernelImage:
    """Load an arm64 kernel.

    :param path: a raw Image, one compressed with gzip or zstd, a vmlinux, or a build directory
    :param system_map: symbols, instead of those found beside the image, in it, or in ``vmlinux``
    :param vmlinux: the ELF the Image was made from, for symbols and layouts
    :param load_base: PA, 2 MiB aligned; the image goes text_offset bytes above it
    :raises InvalidSubject: a file that is missing, damaged, not arm64, or does not belong to the image
    :raises Untestable: no symbols or no layout to be had
    :raises InvalidCase: load_base is not aligned
    :source: Linux v6.12 Documentation/arch/arm64/booting.rst
    """
    if load_base % _ALIGNMENT:
        raise InvalidCase(f"load_base={load_base:#x}: must be 2 MiB aligned (booting.rst)")
    files = _resolve(Path(path), system_map, vmlinux)
    name = str(files.image)
    data = unwrap(read_file(files.image), name)
    elf = Elf(data, name) if data.startswith(b"\x7fELF") else None
    image = elf.image()[1] if elf else data
    header = parse_header(image, name)
    if elf is None and files.vmlinux:
        elf = Elf(read_file(files.vmlinux), str(files.vmlinux))
    sha256 = hashlib.sha256(image).hexdigest()
    symbols = _symbols(files, elf, image, sha256)
    banner = _banner(image, name)
    base_va = _base_va(symbols, header, name)
    _check_belongs(symbols, image, base_va, header, files)
    setup = _setup(image, base_va, symbols, "__secondary_switched")
    symbols = _with_recovered(symbols, base_va, setup, _setup(image, base_va, symbols, "__primary_switched"))
    load_pa = load_base + header.text_offset
    subject = Subject(
        name=name,
        identity=sha256[:16],
        segments=(Segment(load_pa, image, header.image_size),),
        symbols=symbols,
        va_offset=(base_va - load_pa) & (2**64 - 1),
    )
    return KernelImage(
        subject=subject,
        version=banner.split(" ")[2],
        page_size=header.page_size,
        text_offset=header.text_offset,
        flags=header.flags,
        image_size=header.image_size,
        entry_pa=load_pa,
        layout=_layout(image, base_va, symbols, elf, setup, name),
        banner=banner,
    )


def is_kernel(path: Path) -> bool:
    """Tell cheaply whether :func:`load_kernel` is the loader for ``path``; never raises.

    True for an arm64 Image (raw, gzip, zstd), an AArch64 ELF whose first segment is one, and a directory that
    has a vmlinux or an Image at its place.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return (path / "vmlinux").is_file() or (path / "arch/arm64/boot/Image").is_file()
        with path.open("rb") as file:
            head = peek(file.read(1 << 16))
            if head.startswith(b"\x7fELF") and head[18:20] == b"\xb7\x00":
                offset = int.from_bytes(head[64 + 8 : 64 + 16], "little")  # of the first program header
                file.seek(min(offset, 1 << 40))
                head = file.read(64)
    except OSError:
        return False
    return has_magic(head) or (head[:2] == b"MZ" and head[4:8] == b"zimg")


def _resolve(path: Path, system_map: Path | None, vmlinux: Path | None) -> _Files:
    if path.is_dir():
        image = path / "arch/arm64/boot/Image"
        elf = path / "vmlinux"
        if not image.is_file():
            image = elf
        if not image.is_file():
            raise InvalidSubject(
                f"{path}: neither vmlinux nor arch/arm64/boot/Image: not a built kernel tree"
            )
        beside = path / "System.map"
        vmlinux = vmlinux or (elf if elf.is_file() and image != elf else None)
    else:
        image, beside = path, path.with_name("System.map" + _suffix(path.name))
    return _Files(image, system_map or _useful(beside), vmlinux)


def _suffix(name: str) -> str:
    # vmlinuz-6.12.1-cloud -> -6.12.1-cloud
    dash = name.find("-")
    return name[dash:] if dash >= 0 else ""


def _useful(path: Path) -> Path | None:
    return path if path.is_file() and path.stat().st_size > _STUB_MAX else None


def _symbols(files: _Files, elf: Elf | None, image: bytes, sha256: str) -> Symbols:
    if files.system_map:
        return Symbols(read_file(files.system_map))
    text = elf.system_map() if elf else b""
    return Symbols(text or symbols_of_image(image, sha256, str(files.image)))


def _banner(image: bytes, name: str) -> str:
    match = _BANNER.search(image)
    if match is None:
        raise InvalidSubject(f"{name}: no 'Linux version' banner: not a Linux kernel")
    return match[0].decode("latin-1").rstrip("\n")


def _base_va(symbols: Symbols, header: ImageHeader, name: str) -> int:
    # VA of the first byte. kallsyms without data symbols starts at _stext, under 2 MiB above _text.
    base = symbols.address("_text")
    if base is not None:
        return base
    stext = symbols.address("_stext")
    if stext is None:
        raise Untestable(f"{name}: no symbol _text or _stext; is this the System.map of a Linux kernel?")
    return (stext - header.text_offset & ~(_ALIGNMENT - 1)) + header.text_offset


def _check_belongs(symbols: Symbols, image: bytes, base_va: int, header: ImageHeader, files: _Files) -> None:
    # A map of another build would give wrong addresses without a word.
    source = files.system_map or files.vmlinux or files.image
    end, banner = symbols.address("_end"), symbols.address("linux_banner")
    if end is not None and end - base_va != header.image_size:
        found = f"_end - _text = {end - base_va:#x}"
        raise InvalidSubject(
            f"{source}: {found}: {files.image} has image_size {header.image_size:#x}; another build"
        )
    if banner is not None and image[banner - base_va : banner - base_va + 14] != b"Linux version ":
        raise InvalidSubject(
            f"{source}: no banner at linux_banner={banner:#x}: {files.image} is another build"
        )


def _setup(image: bytes, base_va: int, symbols: Symbols, function: str) -> TaskSetup:
    va = symbols.address(function)
    return TaskSetup() if va is None else task_setup(image[max(va - base_va, 0) :][:256], va)


def _with_recovered(symbols: Symbols, base_va: int, secondary: TaskSetup, primary: TaskSetup) -> Symbols:
    # Data symbols that a kallsyms without CONFIG_KALLSYMS_ALL lacks, as the boot code forms their addresses.
    found = {
        "_text": base_va,
        "secondary_data": secondary.task_from if secondary.loaded else None,
        "__per_cpu_offset": secondary.per_cpu_offset,
        "init_task": None if primary.loaded else primary.task_from,
    }
    new = {va: name for name, va in found.items() if va is not None and symbols.address(name) is None}
    if not new:
        return symbols
    rows: list[bytes] = symbols.text.splitlines(keepends=True)
    rows += [f"{va:016x} D {name}\n".encode() for va, name in new.items()]
    rows.sort(key=lambda row: row[:16])
    return Symbols(b"".join(rows))


def _layout(
    image: bytes, base_va: int, symbols: Symbols, elf: Elf | None, setup: TaskSetup, name: str
) -> KernelLayout:
    thread_size = _thread_size(symbols, setup, name)
    btf = find_btf(image, base_va, symbols, name)
    if btf is not None:
        return layout_from_btf(btf, thread_size)
    return layout_from_code(setup, _task_size(symbols, elf), thread_size, name)


def _thread_size(symbols: Symbols, setup: TaskSetup, name: str) -> int:
    for start, end in (("__start_init_stack", "__end_init_stack"), ("__start_init_task", "__end_init_task")):
        low, high = symbols.address(start), symbols.address(end)
        if low is not None and high is not None and high > low:
            return high - low
    if setup.thread_size:
        return setup.thread_size
    raise Untestable(f"{name}: THREAD_SIZE: neither __start_init_stack nor init_cpu_task shows it")


def _task_size(symbols: Symbols, elf: Elf | None) -> int | None:
    if elf:
        sizes = [size for name, _, size, _ in elf.symbols() if name == "init_task" and size]
        if sizes:
            return sizes[0]
    start = symbols.address("init_task")
    if start is None:
        return None
    after = symbols.after(start)
    return after - start if after is not None else None

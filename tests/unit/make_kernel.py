"""Small kernels for tests: an Image, an ELF around it, BTF and a System.map, each field under control."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence

import lz4.block
import lz4.frame
import zstandard

from emu.arch.flat_tree import Writer
from emu.errors import EmuError
from emu.subject.lz4 import LEGACY_MAGIC

BASE_VA = 0xFFFF_8000_8000_0000
IMAGE_SIZE = 0x8000
BANNER = b"Linux version 6.12.0-test (me@here) (gcc) #1 SMP\n\0"
BANNER_AT, CODE_AT, BTF_AT = 0x100, 0x1000, 0x2000
DATA_AT = 0x6000  # secondary_data; in BSS, so beyond the file's bytes
FILE_SIZE = 0x4000

# __secondary_switched of Linux 6.12, with task.stack at 32, thread_info.cpu at 16, THREAD_SIZE 16 KiB;
# adrp x0 and adrp x1 reach 5 and 4 pages on, secondary_data and __per_cpu_offset.
SECONDARY_SWITCHED = (
    0xD503245F,  # bti c
    0xAA1403E0,  # mov x0, x20
    0xB0000023,  # adrp x3, +5 pages
    0xF904007F,  # str xzr, [x3, #0x800]
    0xB0000020,  # adrp x0, +5 pages
    0x91004000,  # add x0, x0, #0x10
    0xF9400002,  # ldr x2, [x0]
    0xB40001C2,  # cbz x2
    0xD5184102,  # msr sp_el0, x2
    0xF9401041,  # ldr x1, [x2, #32]
    0x9140103F,  # add sp, x1, #0x4, lsl #12
    0xD10543FF,  # sub sp, sp, #0x150
    0x90000021,  # adrp x1, +4 pages
    0x91008021,  # add x1, x1, #0x20
    0xB9401043,  # ldr w3, [x2, #16]
    0xF8637821,  # ldr x1, [x1, x3, lsl #3]
    0xD518D081,  # msr tpidr_el1, x1
    0xD4210000,  # brk
)

SYMBOLS: dict[str, int] = {
    "_text": BASE_VA,
    "linux_banner": BASE_VA + BANNER_AT,
    "__secondary_switched": BASE_VA + CODE_AT,
    "__start_BTF": BASE_VA + BTF_AT,
    "init_task": BASE_VA + 0x7000,
    "after_init_task": BASE_VA + 0x7000 + 3072,
    "secondary_data": BASE_VA + DATA_AT + 0x10,
    "_end": BASE_VA + IMAGE_SIZE,
}


def header(
    text_offset: int = 0, image_size: int = IMAGE_SIZE, flags: int = 0xA, magic: bytes = b"ARM\x64"
) -> bytes:
    """Return the 64 bytes of an arm64 Image header (booting.rst)."""
    return struct.pack(
        "<IIQQQQQQ4sI", 0xD503201F, 0x14000010, text_offset, image_size, flags, 0, 0, 0, magic, 0
    )


def image(
    btf: bytes = b"", code: Sequence[int] = SECONDARY_SWITCHED, banner: bytes = BANNER, **fields: int
) -> bytes:
    """Return a raw Image of FILE_SIZE bytes with a banner, boot code and BTF at their places."""
    out = bytearray(FILE_SIZE)
    for at, data in ((0, header(**fields)), (BANNER_AT, banner), (BTF_AT, btf)):
        out[at : at + len(data)] = data
    out[CODE_AT : CODE_AT + 4 * len(code)] = struct.pack(f"<{len(code)}I", *code)
    return bytes(out)


def system_map(symbols: Mapping[str, int] = SYMBOLS, without: Sequence[str] = ()) -> bytes:
    """Return System.map text over 4 KiB, so that it is not taken for a stub."""
    rows = {f"filler_{n:03}": BASE_VA + 0x3000 + n for n in range(150)} | dict(symbols)
    ordered = sorted((va, name) for name, va in rows.items() if name not in without)
    return "".join(f"{va:016x} T {name}\n" for va, name in ordered).encode()


def refusal(run: Callable[[], object], kind: type[EmuError] = EmuError) -> str | None:
    """Return the one line that ``run`` refuses its input with, None when it takes it; other errors pass."""
    message = None
    try:
        run()
    except kind as error:
        message = str(error)
    assert message is None or message.splitlines() == [message]
    return message


class Btf:
    """Writes BTF: add types, they are numbered from 1; then :meth:`blob`."""

    def __init__(self) -> None:
        self.types: list[bytes] = []
        self.strings = b"\0"

    def string(self, text: str) -> int:
        """Return the offset of ``text`` in the string section, adding it."""
        if not text:
            return 0
        at = self.strings.find(b"\0" + text.encode() + b"\0")
        if at < 0:
            at = len(self.strings) - 1
            self.strings += text.encode() + b"\0"
        return at + 1

    def add(
        self, kind: int, name: str, size_or_type: int, vlen: int = 0, extra: bytes = b"", flag: int = 0
    ) -> int:
        """Add a type of any kind; return its number."""
        info = flag << 31 | kind << 24 | vlen
        self.types.append(struct.pack("<III", self.string(name), info, size_or_type) + extra)
        return len(self.types)

    def int_(self, name: str, size: int) -> int:
        """Add an integer type of ``size`` bytes."""
        return self.add(1, name, size, extra=struct.pack("<I", size * 8))

    def struct(
        self, name: str, size: int, members: Sequence[tuple[str, int, int]], union: bool = False
    ) -> int:
        """Add a struct; members are (name, type number, offset in bits)."""
        rows = b"".join(struct.pack("<III", self.string(m), kind, bits) for m, kind, bits in members)
        return self.add(5 if union else 4, name, size, len(members), rows)

    def blob(self) -> bytes:
        """Return header, types and strings."""
        types = b"".join(self.types)
        sizes = (24, 0, len(types), len(types), len(self.strings))
        return struct.pack("<HBB5I", 0xEB9F, 1, 0, *sizes) + types + self.strings


def kernel_btf(task_size: int = 4736, stack: int = 32, cpu: int = 16) -> Btf:
    """Return BTF with the three structs of a kernel, ``stack`` and ``cpu`` in bytes."""
    btf = Btf()
    word = btf.int_("int", 4)
    pointer = btf.add(2, "", 0)
    info = btf.struct("thread_info", 24, [("flags", pointer, 0), ("cpu", word, cpu * 8)])
    task = btf.struct("task_struct", task_size, [("thread_info", info, 0), ("stack", pointer, stack * 8)])
    to_task = btf.add(2, "", task)
    btf.struct("secondary_data", 16, [("task", to_task, 0), ("status", word, 64)])
    return btf


def elf(
    raw: bytes,
    symbols: Mapping[str, int] = SYMBOLS,
    extra_symbols: Sequence[tuple[str, int, int, int]] = (),
    machine: int = 183,
    kind: int = 2,
    sections: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return an ELF with ``raw`` as one PT_LOAD at BASE_VA, a .symtab, and ``sections`` by name.

    ``extra_symbols`` are (name, va, st_info, st_shndx).
    """
    rows = [(name, va, 0x12, 1) for name, va in symbols.items()] + list(extra_symbols)
    names, table = b"\0", bytes(24)
    for name, va, info, index in rows:
        size = 3072 if name == "init_task" else 0
        table += struct.pack("<IBBHQQ", len(names), info, 0, index, va, size)
        names += name.encode() + b"\0"
    blobs = {".text": raw, ".symtab": table, ".strtab": names} | dict(sections or {})
    section_names = b"\0" + b"".join(name.encode() + b"\0" for name in blobs) + b".shstrtab\0"
    blobs[".shstrtab"] = section_names
    at, body, headers = 64 + 56, b"", [bytes(64)]
    for name, data in blobs.items():
        kind_of = {".symtab": 2, ".strtab": 3, ".shstrtab": 3}.get(name, 1)
        flags, va = (6, BASE_VA) if name == ".text" else (0, 0)
        link = 3 if name == ".symtab" else 0
        fields = (
            section_names.find(b"\0" + name.encode() + b"\0") + 1,
            kind_of,
            flags,
            va,
            at,
            len(data),
            link,
            0,
            8,
        )
        headers.append(struct.pack("<IIQQQQIIQQ", *fields, 24 if name == ".symtab" else 0))
        body, at = body + data, at + len(data)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    fields = (kind, machine, 1, BASE_VA, 64, at, 0, 64, 56, 1, 64, len(headers), len(headers) - 1)
    head = ident + struct.pack("<HHIQQQIHHHHHH", *fields)
    load = struct.pack("<IIQQQQQQ", 1, 7, 120, BASE_VA, BASE_VA, len(raw), IMAGE_SIZE, 0x1000)
    return head + load + body + b"".join(headers)


def fit(
    payload: bytes,
    *,
    images: Mapping[str, Mapping[str, bytes]] | None = None,
    configurations: Mapping[str, Mapping[str, bytes]] | None = None,
    default: str | None = "conf-1",
    behind: bytes = b"",
    hashes: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return a FIT as scripts/make_fit.py makes it: a kernel, a device tree, a configuration of both.

    :param images: what is changed in the properties of an image; without a value: left out
    :param configurations: the nodes of /configurations; default: one that names the kernel
    :param behind: bytes behind the tree
    :param hashes: values by algorithm, below the kernel
    """
    kernel = {"data": payload, "type": b"kernel_noload\0", "arch": b"arm64\0", "os": b"linux\0"}
    kernel |= {"compression": b"gzip\0", "load": bytes(4), "entry": bytes(4)}
    tree = {"data": b"\xd0\x0d\xfe\xed", "type": b"flat_dt\0", "arch": b"arm64\0", "compression": b"none\0"}
    found = {"kernel": kernel, "fdt-1": tree}
    for name, changes in (images or {}).items():
        found[name] = {**found.get(name, {}), **changes}
    if configurations is None:
        configurations = {"conf-1": {"kernel": b"kernel\0", "fdt": b"fdt-1\0"}}
    writer = Writer()
    writer.begin("")
    writer.prop("description", b"a kernel\0")
    writer.begin("images")
    for name, props in found.items():
        writer.begin(name)
        for prop, value in props.items():
            if value:
                writer.prop(prop, value)
        for number, (algorithm, value) in enumerate((hashes or {}).items() if name == "kernel" else ()):
            writer.begin(f"hash-{number}")
            writer.prop("algo", algorithm.encode() + b"\0")
            writer.prop("value", value)
            writer.end()
        writer.end()
    writer.end()
    writer.begin("configurations")
    if default is not None:
        writer.prop("default", default.encode() + b"\0")
    for name, props in configurations.items():
        writer.begin(name)
        for prop, value in props.items():
            writer.prop(prop, value)
        writer.end()
    writer.end()
    writer.end()
    return writer.to_bytes(0) + behind


def lz4_legacy(data: bytes) -> bytes:
    """Return what lz4 -l makes, as the kernel's Image.lz4: blocks of 8 MiB, each with its size."""
    out = bytearray(LEGACY_MAGIC)
    for start in range(0, len(data), 8 << 20):
        block = lz4.block.compress(data[start : start + (8 << 20)], store_size=False)
        out += struct.pack("<I", len(block)) + block
    return bytes(out)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "lz4": lz4.frame.compress,
    "lz4 legacy": lz4_legacy,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


def zboot(payload: bytes, kind: bytes, offset: int = 64, size: int | None = None) -> bytes:
    """Return an EFI zboot image: drivers/firmware/efi/libstub/zboot-header.S."""
    head = struct.pack(
        "<4s4sII8x32s", b"MZ\0\0", b"zimg", offset, len(payload) if size is None else size, kind
    )
    return head.ljust(64, b"\0") + payload


def uimage(payload: bytes, **changes: int) -> bytes:
    """A uImage as mkimage -A arm64 -T kernel -C none makes it."""
    fields = {"size": len(payload), "crc": zlib.crc32(payload), "machine": 22} | changes
    words = (0x27051956, 0, 0, fields["size"], 0, 0, fields["crc"])
    return struct.pack(">7I4B32s", *words, 5, fields["machine"], 2, 0, b"Linux") + payload

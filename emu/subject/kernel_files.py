"""Find the files of a kernel: the Image, its vmlinux and its System.map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emu.errors import InvalidSubject
from emu.subject.elf import first_bytes_of
from emu.subject.fit import is_fit
from emu.subject.image import has_magic
from emu.subject.unwrap import LZOP_MAGIC, peek

_IN_TREE = Path("arch/arm64/boot/Image")
_STUB_MAX = 4096  # bytes; Debian ships a System.map of one line
_HEAD = 1 << 20  # bytes; the first block of bzip2 is up to 900 kB and comes out whole
_ELF = b"\x7fELF"
_BIG_ENDIAN = b"\x7fELF\x02\x02"  # 64-bit, most significant byte first; then the machine is so too
_AARCH64 = b"\x00\xb7"


@dataclass(frozen=True, slots=True)
class KernelFiles:
    """``image`` holds the bytes (an Image or a vmlinux); the others are None when there is no such file."""

    image: Path
    system_map: Path | None
    vmlinux: Path | None


def is_kernel(path: Path) -> bool:
    """Tell whether ``load_kernel`` is the loader for ``path``, from its first MiB; never raises.

    True for an arm64 Image (raw or packed), a FIT, an AArch64 ELF whose first segment is one, and a directory
    that has a vmlinux or an Image at the kernel's usual path. A big-endian ELF is one: the loader refuses it.
    """
    try:
        if path.is_dir():
            return (path / "vmlinux").is_file() or (path / _IN_TREE).is_file()
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD)
            offset = first_bytes_of(head)
            if offset is not None:
                file.seek(offset)
                head = file.read(_HEAD)
    except (OSError, ValueError):
        return False
    if head[:6] == _BIG_ENDIAN and head[18:20] == _AARCH64:
        return True
    packed = head.startswith(LZOP_MAGIC) or (head[:2] == b"MZ" and head[4:8] == b"zimg")
    return packed or is_fit(head) or has_magic(peek(head))


def is_elf(path: Path) -> bool:
    """Tell whether ``path`` is an ELF file: ``load_kernel`` says why one that is no kernel is none."""
    try:
        with path.open("rb") as file:
            return file.read(len(_ELF)) == _ELF
    except (OSError, ValueError):
        return False


def find_files(path: Path, system_map: Path | None, vmlinux: Path | None) -> KernelFiles:
    """Return the files for ``path``, a file or a build directory; files given win over those beside it.

    A System.map is searched with the image's own suffix (``vmlinuz-6.12``, ``System.map-6.12``), or at the
    top of the build tree that contains the image. A stub of one line is skipped.

    :raises InvalidSubject: a directory without a kernel in it
    """
    image, tree = path, _tree_of(path)
    if path.is_dir():
        image = path / _IN_TREE if (path / _IN_TREE).is_file() else path / "vmlinux"
        if not image.is_file():
            raise InvalidSubject(f"{path}: neither vmlinux nor {_IN_TREE} in it: not a built kernel tree")
    if system_map is None and vmlinux is None:
        dash = path.name.find("-")
        suffix = path.name[dash:] if dash >= 0 else ""
        system_map = _useful(tree / "System.map" if tree else path.with_name("System.map" + suffix))
        if tree and image.name != "vmlinux" and (tree / "vmlinux").is_file():
            vmlinux = tree / "vmlinux"
    return KernelFiles(image, system_map, vmlinux)


def _tree_of(path: Path) -> Path | None:
    # The build tree: `path` itself, or the tree whose Image or vmlinux `path` is.
    if path.is_dir():
        return path
    if path.name == "vmlinux":
        return path.parent
    absolute = path.absolute()
    return absolute.parents[3] if absolute.parts[-4:-1] == _IN_TREE.parts[:-1] else None


def _useful(path: Path) -> Path | None:
    try:
        return path if path.is_file() and path.stat().st_size > _STUB_MAX else None
    except OSError:
        return None

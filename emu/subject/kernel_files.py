"""Which files a kernel path stands for: the Image, its vmlinux and its System.map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emu.errors import InvalidSubject
from emu.subject.elf import first_bytes_of
from emu.subject.image import has_magic
from emu.subject.unwrap import peek

_IN_TREE = Path("arch/arm64/boot/Image")
_STUB_MAX = 4096  # bytes; Debian ships a System.map of one line
_HEAD = 1 << 16


@dataclass(frozen=True, slots=True)
class KernelFiles:
    """``image`` holds the bytes (an Image or a vmlinux); the others are None when there is no such file."""

    image: Path
    system_map: Path | None
    vmlinux: Path | None


def is_kernel(path: Path) -> bool:
    """Tell cheaply whether ``load_kernel`` is the loader for ``path``; never raises.

    True for an arm64 Image (raw or compressed), an AArch64 ELF whose first segment is one, and a directory
    that has a vmlinux or an Image at its place.
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
    return has_magic(peek(head)) or (head[:2] == b"MZ" and head[4:8] == b"zimg")


def find_files(path: Path, system_map: Path | None, vmlinux: Path | None) -> KernelFiles:
    """Return the files for ``path``, a file or a build directory; given ones win over those beside it.

    A System.map is looked for under the image's own suffix (``vmlinuz-6.12``, ``System.map-6.12``), or at the
    top of the build tree that the image is in. A stub is passed over.

    :raises InvalidSubject: a directory without a kernel in it
    """
    if path.is_dir():
        tree, image = path, path / _IN_TREE
        if not image.is_file():
            image = path / "vmlinux"
        if not image.is_file():
            raise InvalidSubject(f"{path}: neither vmlinux nor {_IN_TREE} in it: not a built kernel tree")
    else:
        in_tree = path.absolute().parts[-4:-1] == _IN_TREE.parts[:-1]
        tree, image = path.absolute().parents[3] if in_tree else path.parent, path
        in_tree = in_tree or path.name == "vmlinux"
        if not in_tree:
            dash = path.name.find("-")
            beside = path.with_name("System.map" + (path.name[dash:] if dash >= 0 else ""))
            return KernelFiles(image, system_map or _useful(beside), vmlinux)
    elf = tree / "vmlinux"
    if vmlinux is None and elf != image and elf.is_file():
        vmlinux = elf
    return KernelFiles(image, system_map or _useful(tree / "System.map"), vmlinux)


def _useful(path: Path) -> Path | None:
    try:
        return path if path.is_file() and path.stat().st_size > _STUB_MAX else None
    except OSError:
        return None

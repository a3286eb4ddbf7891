"""Read this process's own memory without the risk of a signal: an address that is not mapped is an answer."""

from __future__ import annotations

import ctypes
import os

_CHUNK = 4096  # POSIX: a pipe takes this much, or at least PIPE_BUF, at once


class ProcessMemory:
    """Reads by letting the kernel copy: write(2) to a pipe fails with EFAULT where a load would trap."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        self._write = ctypes.CDLL(None).write
        self._write.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
        self._write.restype = ctypes.c_ssize_t

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self._out)
        os.close(self._in)

    def read(self, address: int, size: int) -> bytes | None:
        """Return ``size`` bytes at a host address, or None when not all of them can be read."""
        found = b""
        while len(found) < size:
            at = address + len(found)
            if not 0 < at < 1 << 64:
                return None
            written = self._write(self._in, at, min(_CHUNK, size - len(found)))
            if written <= 0:
                return None
            found += os.read(self._out, written)
        return found

    def pointer(self, address: int) -> int:
        """Return the u64 at a host address, 0 when it cannot be read."""
        return int.from_bytes(self.read(address, 8) or b"", "little")

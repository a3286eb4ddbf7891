"""A run as a trace.dat file, version 6, which trace-cmd report and KernelShark read.

Each mark of the ftrace text is an event ``ftrace/print``, as a write to trace_marker makes it, in the ring
buffer of its CPU.

:source: trace-cmd Documentation/trace-cmd/trace-cmd.dat.v6.5.txt; Linux v6.12 kernel/trace/ring_buffer.c,
    trace_entries.h
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from emu.report.ftrace import MARK, Written, marks_of, task_of
from emu.report.timeline import Timeline

_MAGIC = b"\x17\x08\x44tracing6\0"
_LITTLE_ENDIAN, _LONG_BYTES, _PAGE_BYTES = 0, 8, 4096
_PAGE = struct.Struct("<QQ")  # time of its first event (ns), bytes of its events
_LONGEST = _PAGE_BYTES - _PAGE.size - 64  # bytes of text in an event: it fits into one page
_DELTA_BITS, _TIME_EXTEND = 27, 30
_FIRST_NS = 1  # libkshark takes 0 for no time, and sorts its CPU behind all others
_PRINT, _IRQS_OFF = 5, 1
_PRINT_HEAD = struct.Struct("<HBBiQ")  # common_type, common_flags, common_preempt_count, common_pid, ip
_MARK_VA = 0xFFFF_8000_8000_0000  # of tracing_mark_write in kallsyms, by which an event names it
_HEADER_PAGE = b"""\
\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;
\tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;
"""
_HEADER_EVENT = b"""\
# compressed entry header
\ttype_len    :    5 bits
\ttime_delta  :   27 bits
\tarray       :   32 bits

\tpadding     : type == 29
\ttime_extend : type == 30
\ttime_stamp : type == 31
\tdata max type_len  == 28
"""
_FORMAT = b"""\
name: print
ID: 5
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:unsigned long ip;\toffset:8;\tsize:8;\tsigned:0;
\tfield:char buf[];\toffset:16;\tsize:0;\tsigned:0;

print fmt: "%ps: %s", (void *)REC->ip, REC->buf
"""


def trace_dat(found: Timeline) -> bytes:
    """Return the file; each of its CPUs has the marks of one."""
    of_cpu: list[list[Written]] = [[] for _ in range(found.cpus)]
    for written in marks_of(found):
        of_cpu[written.cpu].append(written)
    buffers = [_buffer(marks) for marks in of_cpu]
    head = _head(found.cpus)
    at = _aligned(len(head) + 10 + 16 * found.cpus)
    table, places = b"", at
    for buffer in buffers:
        table += struct.pack("<QQ", places, len(buffer))
        places += len(buffer)
    return (head + b"flyrecord\0" + table).ljust(at, b"\0") + b"".join(buffers)


def _head(cpus: int) -> bytes:
    # All up to the list of the ring buffers.
    tasks = "".join(f"{pid} {name}\n" for name, pid in map(task_of, range(cpus))).encode()
    symbols = f"{_MARK_VA:016x} T {MARK}\n".encode()
    return b"".join(
        [
            _MAGIC,
            struct.pack("<BBI", _LITTLE_ENDIAN, _LONG_BYTES, _PAGE_BYTES),
            b"header_page\0" + _sized("<Q", _HEADER_PAGE),
            b"header_event\0" + _sized("<Q", _HEADER_EVENT),
            struct.pack("<I", 1) + _sized("<Q", _FORMAT),  # events of ftrace itself
            struct.pack("<I", 0),  # other systems
            _sized("<I", symbols),
            _sized("<I", b""),  # printk formats
            _sized("<Q", tasks),
            struct.pack("<I", cpus),
            b"options  \0" + struct.pack("<H", 0),
        ]
    )


def _sized(size: str, data: bytes) -> bytes:
    return struct.pack(size, len(data)) + data


def _aligned(size: int) -> int:
    return (size + _PAGE_BYTES - 1) & -_PAGE_BYTES


def _buffer(marks: Sequence[Written]) -> bytes:
    # The pages of a CPU's ring buffer.
    pages: list[bytes] = []
    begin, last, data = 0, 0, b""
    for mark in marks:
        ns = max(mark.ns, _FIRST_NS)
        if not data:
            begin = last = ns
        event = _event(mark, ns - last)
        if _PAGE.size + len(data) + len(event) > _PAGE_BYTES:
            pages.append(_page(begin, data))
            begin, data, event = ns, b"", _event(mark, 0)
        data, last = data + event, ns
    if data:
        pages.append(_page(begin, data))
    return b"".join(pages)


def _page(begin: int, data: bytes) -> bytes:
    return (_PAGE.pack(begin, len(data)) + data).ljust(_PAGE_BYTES, b"\0")


def _event(mark: Written, delta: int) -> bytes:
    text = mark.text.encode()[:_LONGEST] + b"\n\0"
    pid = task_of(mark.cpu)[1]
    body = _PRINT_HEAD.pack(_PRINT, _IRQS_OFF if mark.masked else 0, 0, pid, _MARK_VA) + text
    body = body.ljust(len(body) + 3 & -4, b"\0")
    extend = b""
    if delta >> _DELTA_BITS:
        low = delta & (1 << _DELTA_BITS) - 1
        extend, delta = struct.pack("<II", low << 5 | _TIME_EXTEND, delta >> _DELTA_BITS), 0
    return extend + struct.pack("<II", delta << 5, len(body) + 4) + body

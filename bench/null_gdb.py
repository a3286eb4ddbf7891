"""A gdb server with no machine behind it: ``python -m bench.null_gdb PC``, the limit of what a server can do.

Every step is answered at once with the same stop reply, PC, SP and X29 in it as emu has them, so that what is
left is gdb (or the bare client), the socket and the switches between two processes on one CPU.
"""

from __future__ import annotations

import socket
import sys

_G = 31 * 8 + 8 + 8 + 4 + 32 * 16 + 4 + 4  # bytes of X0..X30, SP, PC, CPSR, V0..V31, FPSR, FPCR


def answers(pc: int) -> dict[bytes, bytes]:
    """Return what each packet is answered with; a packet that is not there gets nothing, "not supported"."""
    where = pc.to_bytes(8, "little").hex().encode()
    stop = b"T051d:%b;1f:%b;20:%b;thread:1;" % (b"00" * 8, b"00" * 8, where)
    registers = bytearray(b"00" * _G)
    registers[2 * 256 : 2 * 264] = where
    found = {b"?": stop, b"s": stop, b"c": stop, b"vCont;c": stop, b"vCont;s": stop, b"g": bytes(registers)}
    found |= {b"vCont?": b"vCont;c;C;s;S", b"qSupported": b"PacketSize=4000;QStartNoAckMode+;vContSupported+"}
    found |= {b"QStartNoAckMode": b"OK", b"qAttached": b"1", b"qC": b"QC1"}
    return found | {b"qfThreadInfo": b"m1", b"qsThreadInfo": b"l"}


def answer(known: dict[bytes, bytes], payload: bytes) -> bytes:
    """Return the payload that answers ``payload``."""
    if payload in known:
        return known[payload]
    if payload[:1] in (b"H", b"T") or payload[:2] in (b"Z0", b"Z1", b"z0", b"z1"):
        return b"OK"
    if payload.startswith((b"vCont;s", b"vCont;c")):
        return known[b"s"]
    if payload.startswith(b"qSupported"):
        return known[b"qSupported"]
    if payload[:1] == b"m":
        return b"1f2003d5" * (int(payload.partition(b",")[2], 16) // 4 or 1)  # NOP
    return b""


def serve(pc: int) -> None:
    """Serve one client on a port that is free, and say which."""
    known = answers(pc)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"gdb: target remote 127.0.0.1:{listener.getsockname()[1]}", flush=True)
        client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data, acks = b"", True
    while more := client.recv(65536):
        data += more
        while (end := data.find(b"#")) >= 0 and len(data) >= end + 3:
            start = data.find(b"$")
            payload, data = data[start + 1 : end], data[end + 3 :]
            if payload == b"k":
                return
            text = answer(known, payload)
            client.sendall(b"%b$%b#%02x" % (b"+" if acks else b"", text, sum(text) & 0xFF))
            if payload == b"QStartNoAckMode":
                acks = False


if __name__ == "__main__":
    serve(int(sys.argv[1], 0))

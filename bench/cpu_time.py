"""CPU time of other processes, from /proc; read inside gdb's Python too, so it imports nothing of ours."""

from __future__ import annotations

import os


def session_seconds(session: int) -> float:
    """Return the CPU seconds, user and system, of all threads of a session that are alive.

    The process that starts a server makes it the leader of a session of its own; its forks belong to it too.
    """
    pids = (name for name in os.listdir("/proc") if name.isdigit())
    return sum(process_seconds(int(pid)) for pid in pids if _is_in(pid, session))


def process_seconds(pid: int) -> float:
    """Return the CPU seconds, user and system, of the live threads of a process; 0 when it has ended."""
    # schedstat counts nanoseconds; where the kernel has none, stat counts ticks.
    total = 0.0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0]) / 1e9
    except OSError:
        fields = _stat(str(pid))
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0
    return total


def _is_in(pid: str, session: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and int(fields[3]) == session


def _stat(pid: str) -> list[str]:
    # From the state on; nothing when the process has just ended.
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []

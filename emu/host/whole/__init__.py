"""The whole depth: a kernel that boots by itself, on emulated interrupts and timers."""

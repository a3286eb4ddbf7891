"""Facts about the architecture and the kernel's boot ABI, as pure functions; imports only emu.errors."""

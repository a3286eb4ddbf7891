"""Facts about the architecture and the kernel's boot ABI: pure, and importing nothing of ours but errors."""

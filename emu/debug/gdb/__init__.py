"""gdb's remote serial protocol over a debug session."""

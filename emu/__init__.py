"""emu: an AArch64 instruction-level emulator for the Linux secondary-CPU boot path."""

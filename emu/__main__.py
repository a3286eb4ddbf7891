"""``python -m emu``."""

from emu.cli import main

main()

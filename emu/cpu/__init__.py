"""The CPU boundary: what a processing element is to the rest of the emulator, whatever executes its code.

:mod:`emu.cpu.engine` and :mod:`emu.cpu.pe` are the protocols, :mod:`emu.cpu.factory` makes an engine. Nothing
but the factory imports :mod:`emu.cpu.unicorn`.
"""

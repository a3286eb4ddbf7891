"""The device tree: write the one a real kernel boots from, and read the one of a machine.

:mod:`.flat` has the format, :mod:`.cpu_map` the node cpu-map, :mod:`.write` and :mod:`.read` the rest.
"""

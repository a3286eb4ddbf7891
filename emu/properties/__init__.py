"""Properties: what a user says must hold of a run, as text, and as something that can be evaluated.

::

    finally [counter] == 2                  at every end
    at my_landing: x11 == 1                 whenever a CPU comes to a label
    never cpu1@critical && cpu2@critical    in every state
    unreachable hang                        no CPU comes to a label
    eventually cpu*@done                    on every schedule, in some state

:mod:`emu.properties.language` reads a text, :mod:`emu.properties.expression` has what it is made of,
:mod:`emu.properties.resolve` turns names into numbers, :mod:`emu.properties.evaluate` evaluates.
"""

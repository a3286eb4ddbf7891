"""What operations mean for the state that CPUs share, as pure functions.

The machine and the exploration both apply these functions, so that an operation has one meaning. Nothing in
this room knows of actors, schedules or memory models: an operation and the values that it loaded go in, the
next :class:`~emu.semantics.state.SystemState`, the operation's result and its stores come out.
"""

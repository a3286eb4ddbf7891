"""Debugging at the whole depth: a kernel that boots by itself, at full speed between two stops."""

"""Which options of the running command the user gave."""

from __future__ import annotations

import click
from click.core import ParameterSource


def given(*names: str) -> list[str]:
    """Return those options of the running command, by the names of its parameters, that the user gave."""
    context = click.get_current_context()
    return [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]


def spelt(name: str) -> str:
    """Return an option of the running command as the user writes it, by the name of its parameter."""
    for parameter in click.get_current_context().command.params:
        if parameter.name == name and isinstance(parameter, click.Option):
            return max(parameter.opts, key=len)
    return name.upper()

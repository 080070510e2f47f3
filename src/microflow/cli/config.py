"""``microflow.toml``: a file of options that are the same for every call.

    schema = "visits.yaml"        # for every command that has the option

    [run]                         # for one command; [policy.check] for one of a group
    method = "k_anonymity"
    k = 10

An option on the command line has priority. The file is in the current folder, or it is the one that ``--config`` names.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

from microflow.errors import InputError

__all__ = ["CONFIG", "defaults_for"]

#: Name of the file in the current folder, which need not exist.
CONFIG = "microflow.toml"


def defaults_for(path: Path, context: click.Context) -> dict[str, Any]:
    """Defaults of the command that is called, in the form of click's ``default_map``.

    Args:
        path: The file.
        context: The context of the whole command line.

    Raises:
        InputError: it cannot be read, or names an option or a command that does not exist.
    """
    group = context.command
    assert isinstance(group, click.Group)
    document = _read(path)
    sections = {name: value for name, value in document.items() if isinstance(value, dict)}
    shared = {name: value for name, value in document.items() if name not in sections}
    known = group.list_commands(context)
    for name in sections:
        if name not in known:
            raise InputError(f"there is no command {name!r}", path=path, hint=f"commands are: {', '.join(known)}")
    invoked = context.invoked_subcommand
    command = None if invoked is None else group.get_command(context, invoked)
    if invoked is None or command is None:
        return {}
    defaults, used = _defaults(path, command, sections.get(invoked, {}), shared, (invoked,))
    if unused := {_normal(name) for name in shared} - used:
        # An unknown option is an error: with a misspelt budget, a run would use the default one.
        others = [found for name in known if (found := group.get_command(context, name)) is not None]
        everything = used.union(*(_options_below(other) for other in others))
        if unknown := sorted(unused - everything):
            raise InputError(f"no command has an option {_flag(unknown[0])}", path=path, hint="is it misspelt?")
    return {invoked: defaults}


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not readable as TOML: {error}", path=path) from error
    except RecursionError as error:
        raise InputError("not readable as TOML: nested too deeply", path=path) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error


def _defaults(
    path: Path, command: click.Command, section: dict[str, Any], shared: dict[str, Any], where: tuple[str, ...]
) -> tuple[dict[str, Any], set[str]]:
    """Defaults of a command or of the commands of a group, and the names that were used."""
    options = _options(command)
    defaults: dict[str, Any] = {}
    used: set[str] = set()
    below = command.commands if isinstance(command, click.Group) else {}
    for name, value in {**shared, **section}.items():
        normal = _normal(name)
        if normal in options and not isinstance(value, list | dict):
            defaults[options[normal]] = value
            used.add(normal)
        elif name in section and name not in below:
            place = f"[{'.'.join(where)}]"
            if normal in options:
                raise InputError(f"{place} {name} must be a single value", path=path)
            hint = f"options are: {', '.join(map(_flag, sorted(options)))}" if options else ""
            raise InputError(f"{place} has no option {_flag(normal)}", path=path, hint=hint)
    for name, subcommand in below.items():
        own = section.get(name, {})
        found, more = _defaults(path, subcommand, own if isinstance(own, dict) else {}, shared, (*where, name))
        defaults[name] = found
        used |= more
    return defaults, used


def _options(command: click.Command) -> dict[str, str]:
    """Names of options in the file, mapped to the names of their parameters."""
    return {
        flag.lstrip("-"): str(option.name)
        for option in command.params
        if isinstance(option, click.Option)
        for flag in option.opts
        if flag.startswith("--")
    }


def _options_below(command: click.Command) -> set[str]:
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return set(_options(command)).union(*map(_options_below, below))


def _normal(name: str) -> str:
    return name.replace("_", "-")


def _flag(name: str) -> str:
    return f"--{name}"

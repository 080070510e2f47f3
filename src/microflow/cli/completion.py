"""``microflow completion``: what a shell needs to complete our commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    Examples:
      source <(microflow completion bash)
      microflow completion zsh > ~/.zfunc/_microflow
      microflow completion fish > ~/.config/fish/completions/microflow.fish
    """
    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(context.find_root().command, {}, "microflow", "_MICROFLOW_COMPLETE").source())

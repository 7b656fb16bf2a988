"""The commands: parse, call one function, print. One file each; `--help` answers without loading torch.

A command imports what it needs when it runs. Mistakes of the user (`ConfigError`), a disk that is full or closed and a
stored file that is damaged end with one line and exit code 2, Ctrl-C with one line and exit code 130.
"""

from __future__ import annotations

import importlib
import sys

import click
from click.exceptions import NoArgsIsHelpError

from advbench.types import ConfigError

# name -> module:function; the order is that of the help page
COMMANDS = {
    "list": "advbench.cli.list:list_command",
    "show": "advbench.cli.show:show",
    "plan": "advbench.cli.plan:plan",
    "run": "advbench.cli.run:run",
    "status": "advbench.cli.status:status",
    "report": "advbench.cli.report:report",
    "export": "advbench.cli.export:export",
    "verify": "advbench.cli.verify:verify",
    "attack": "advbench.cli.attack:attack",
    "train": "advbench.cli.train:train",
    "explain": "advbench.cli.explain:explain",
    "features": "advbench.cli.features:features",
    "picture": "advbench.cli.picture:picture",
    "train-style": "advbench.cli.train_style:train_style",
    "cue-conflict": "advbench.cli.cue_conflict:cue_conflict",
    "cue-conflict-stimuli": "advbench.cli.cue_conflict_stimuli:cue_conflict_stimuli",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, function = COMMANDS[cmd_name].split(":")
        command = getattr(importlib.import_module(module), function)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from advbench.names import nearest

        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            hint = nearest(args[0], list(COMMANDS))
            raise click.UsageError(f"no command {args[0]!r}; {hint}commands: {', '.join(COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="advbench")
def cli() -> None:
    """Benchmark the adversarial robustness of image classifiers.

    A matrix of models, defenses and attacks goes in as YAML; per-sample results and one HTML page come out.

    \b
    advbench plan benchmarks/digits.yaml      what would be computed
    advbench run benchmarks/digits.yaml       compute what is missing
    advbench report results/digits            write the page

    Shell completion: eval "$(_ADVBENCH_COMPLETE=bash_source advbench)" (or zsh_source, fish_source).
    """


def main() -> None:
    """Entry point of the `advbench` command."""
    try:
        sys.exit(cli.main(prog_name="advbench", standalone_mode=False))
    except NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"Error: {_in_one_line(error)}", err=True)
        sys.exit(error.exit_code)
    except click.Abort:  # Ctrl-C
        click.echo("Interrupted. What is stored stays; the same command goes on from there.", err=True)
        sys.exit(130)
    except ConfigError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except (OSError, ValueError) as error:  # the message names the file
        from advbench.store import StoreError, UnreadableError

        if isinstance(error, ValueError) and not isinstance(error, UnreadableError):
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(2 if isinstance(error, StoreError | UnreadableError) else 1)


def _in_one_line(error: click.ClickException) -> str:
    """What is wrong with the words behind `advbench`, with the command it is about and where its help is."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    where = context.command_path if context else "advbench"
    said = " ".join(error.format_message().split())
    return f"{where}: {said if said.endswith(('.', '?')) else said + '.'} Help: {where} --help"

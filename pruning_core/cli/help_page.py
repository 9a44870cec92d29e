"""The help of all commands as Markdown, for docs/cli.md."""

import argparse
from collections.abc import Iterator

from pruning_core.cli.command import Command
from pruning_core.cli.main import COMMANDS, DESCRIPTION

HEAD = f"""# Command line

Made by `python -m pruning_core.cli.help_page > docs/cli.md`; a test compares this file with that
output.

{DESCRIPTION} `python -m pruning_core` is the same as
`pruning`. `pruning COMMAND --help` prints what this page says about a command.

- Results go to standard output or into files. Progress goes to standard error.
- The exit status is 0 after success. Bad input gives one sentence on standard error and the exit
  status 2.

| command | what it does |
| --- | --- |
"""


def markdown() -> str:
    """The text of docs/cli.md."""
    contents = (
        f"| [`{command.name}`](#pruning-{command.name}) | {command.help} |\n"
        for command in COMMANDS.values()
    )
    return HEAD + "".join(contents) + "".join(map(_section, COMMANDS.values()))


def _section(command: Command) -> str:
    rows = (f"| `{name}` | {cell} |\n" for name, cell in _arguments(command))
    return (
        f"\n## pruning {command.name}\n\n{command.description}\n\n"
        f"```\n{command.example}\n```\n\n"
        "| argument | meaning |\n| --- | --- |\n" + "".join(rows)
    )


def _arguments(command: Command) -> Iterator[tuple[str, str]]:
    """Each argument as it is written, and its help."""
    parser = argparse.ArgumentParser(prog="pruning", add_help=False)
    command.add_options(parser)
    for action in parser._actions:
        cell = (action.help or "").replace("|", "\\|").replace("%%", "%")
        if not action.option_strings:
            yield action.dest.upper(), f"required: {cell}"
            continue
        value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
        yield f"{action.option_strings[0]}{value}", f"required: {cell}" if action.required else cell


if __name__ == "__main__":
    print(markdown(), end="")

#!/usr/bin/env python
"""Fillcast's commands. `manage.py help` lists them."""

import os
import sys


def main() -> None:
    """Run one command. In development its servers are there, started for its life if need be."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.db import OperationalError

        from config.env_variables import InvalidEnvironmentError
        from ops.bootstrap import servers_for
        from ops.embedded.errors import EmbeddedError
    except ImportError as e:
        sys.exit(
            f"Fillcast's packages are not installed here ({e}); run `make venv`, "
            "then use .venv/bin/python manage.py"
        )
    try:
        with servers_for(sys.argv):
            run(sys.argv)
    except (InvalidEnvironmentError, EmbeddedError) as e:
        sys.exit(str(e))
    except OperationalError as e:
        if "connection failed" not in str(e):
            raise
        sys.exit(
            f"The database does not answer: {str(e).splitlines()[0]}. Start it, or check"
            " DATABASE_URL; `manage.py doctor` looks at the rest."
        )


def run(arguments: list[str]) -> None:
    """Run a command. `stack` runs without the apps: only the processes that it starts need them."""
    if arguments[1:2] == ["stack"]:
        from ops.management.commands.stack import Command

        command = Command()
        options = command.create_parser(*arguments[:2]).parse_args(arguments[2:])
        command.execute(**vars(options))
    else:
        from django.core.management import execute_from_command_line

        execute_from_command_line(arguments)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # before the command could say how it ends
        sys.exit(130)

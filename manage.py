#!/usr/bin/env python
"""Fillcast's commands. `manage.py help` lists them."""

import os
import sys


def main() -> None:
    """Run one command. In development its servers are there, started for its life if need be."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line
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
            execute_from_command_line(sys.argv)
    except (InvalidEnvironmentError, EmbeddedError) as e:
        sys.exit(str(e))
    except OperationalError as e:
        if "connection failed" not in str(e):
            raise
        sys.exit(
            f"The database does not answer: {str(e).splitlines()[0]}. Start it, or check"
            " DATABASE_URL; `manage.py doctor` looks at the rest."
        )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # before the command could say how it ends
        sys.exit(130)

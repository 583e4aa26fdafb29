#!/usr/bin/env python
"""Fillcast's commands. `manage.py help` lists them."""

import os
import sys


def main() -> None:
    """Run one command; in development its servers are there, started if need be."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from config.setting import EnvironmentFault

    try:
        from django.core.management import execute_from_command_line
    except ImportError as e:
        sys.exit(
            f"Fillcast's packages are not installed here ({e}); run `make venv`, "
            "then use .venv/bin/python manage.py"
        )
    try:
        execute_from_command_line(sys.argv)
    except EnvironmentFault as e:
        sys.exit(str(e))


if __name__ == "__main__":
    main()

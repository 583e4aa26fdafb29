"""Folders of this installation and the settings that its `.env` adds."""

import os
from collections.abc import Mapping
from pathlib import Path

import environ

from config.secret_files import read_secret_files

ROOT = Path(__file__).resolve().parent.parent


def read_env_file() -> None:
    """Add the variables of `.env` and of files of secrets to the environment.

    Those that are set there have priority over `.env`. Raises InvalidEnvironmentError.
    """
    environ.Env.read_env(ROOT / os.environ.get("FILLCAST_ENV_FILE", ".env"))
    read_secret_files()


def is_production(given: Mapping[str, str]) -> bool:
    """Return whether `given` is a production environment, where no setting is generated."""
    return given.get("FILLCAST_ENV", "").strip() == "production"


def var_folder(given: Mapping[str, str]) -> Path:
    """Return the folder that FILLCAST_VAR names, by default `var`."""
    return ROOT / (given.get("FILLCAST_VAR", "").strip() or "var")

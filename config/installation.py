"""Where this installation is, and the settings that its `.env` adds."""

import os
from collections.abc import Mapping
from pathlib import Path

import environ

ROOT = Path(__file__).resolve().parent.parent


def read_env_file() -> None:
    """Add what `.env` says to the environment; what is there already stays."""
    environ.Env.read_env(ROOT / os.environ.get("FILLCAST_ENV_FILE", ".env"))


def is_production(given: Mapping[str, str]) -> bool:
    """Tell whether nothing may be made up."""
    return given.get("FILLCAST_ENV", "").strip() == "production"


def var_folder(given: Mapping[str, str]) -> Path:
    """Return the folder that FILLCAST_VAR names."""
    return ROOT / (given.get("FILLCAST_VAR", "").strip() or "var")

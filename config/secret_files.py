"""Secrets from files: each file of FILLCAST_SECRETS_FOLDER is named as the setting that it holds.

Docker and Kubernetes mount secrets as such folders, systemd passes credentials so. What is in a
file is neither in a unit, nor in what `docker inspect` prints.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path

from config.env import VARIABLES
from config.env_variables import InvalidEnvironmentError
from config.moved_settings import OLD, describe_moved

FOLDER = "FILLCAST_SECRETS_FOLDER"
LARGEST = 65_536
NAMES = frozenset(variable.name for variable in VARIABLES)


def read_secret_files(environ: MutableMapping[str, str] = os.environ) -> None:
    """Add the settings that are files of the folder. Raises InvalidEnvironmentError.

    The variable is removed: a process that this one starts gets them with the environment.
    """
    if not (name := environ.get(FOLDER, "").strip()):
        return
    folder = Path(name)
    try:  # Kubernetes links each file from a folder that begins with two dots
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InvalidEnvironmentError([f"{FOLDER} is {name!r}; {error.strerror}."]) from None
    faults: list[str] = []
    values = {path.name: _text_of(path, faults) for path in paths}
    faults += [
        f"{folder}: {describe_moved(name)}"
        if name in OLD
        else f"{folder / name} is named as no setting; docs/settings.md lists them."
        for name in sorted(values.keys() - NAMES)
    ]
    faults += [
        f"{name} is set and a file of {FOLDER}; expected one of both."
        for name in values
        if environ.get(name, "").strip()
    ]
    if faults:
        raise InvalidEnvironmentError(faults)
    environ.update(values)
    del environ[FOLDER]


def _text_of(path: Path, faults: list[str]) -> str:
    """Return a file's text without the line break at its end; add what is wrong with it."""
    try:
        if path.stat().st_size > LARGEST:
            faults.append(f"{path} has more than {LARGEST} bytes; expected one setting.")
            return ""
        return path.read_text("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        faults.append(f"{path} cannot be read: {error.strerror}.")
    except UnicodeDecodeError:
        faults.append(f"{path} is no UTF-8 text.")
    return ""

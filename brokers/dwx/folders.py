"""Find a connection's folder: only a name under the operators' root.

Operators set FILLCAST_MT4_ROOT. Each terminal has a folder in it, which is its DWX folder or
contains it. Links that lead out of the root are rejected. A tenant enters only the folder's name,
and proves the right to use it by the key in its file `fillcast.key`, written by the owner or an
operator: otherwise a tenant could use another's terminal.
"""

import hmac
from pathlib import Path

from brokers.dwx import file_io
from brokers.setting_types import FOLDER
from common.reason_codes import Code

SUBFOLDERS = ("", "DWX", "MQL4/Files/DWX", "MQL5/Files/DWX", "Files/DWX")
KEY = "fillcast.key"


class TerminalUnavailableError(Exception):
    """A terminal cannot be used now. raw: content of a file that cannot be read. It may contain
    anything, so use it through raw_text.py only."""

    def __init__(self, code: Code, detail: str, raw: bytes = b"") -> None:
        super().__init__(detail)
        self.code, self.detail, self.raw = code, detail, raw


class FolderInUseError(TerminalUnavailableError):
    """Another process of ours has the terminal: files may be read, commands not sent."""


def folder_of(root: Path | None, name: object) -> Path:
    """Return the folder in which a terminal's expert advisor writes. Accesses the disk.

    Raises TerminalUnavailableError: no root is set, the name is invalid, or it leads out of it.
    """
    if root is None:
        raise TerminalUnavailableError(
            Code.NOT_CONNECTED, "FILLCAST_MT4_ROOT is not set on this machine."
        )
    if not isinstance(name, str) or not FOLDER.fullmatch(name):
        raise TerminalUnavailableError(
            Code.UNKNOWN_ACCOUNT, "The setting `folder` is not a folder's name."
        )
    try:
        return _inside(root.resolve(), name)
    except (OSError, RuntimeError) as error:  # links in a circle
        raise TerminalUnavailableError(
            Code.UNKNOWN_ACCOUNT, "The folder cannot be reached."
        ) from error


def _inside(top: Path, name: str) -> Path:
    for inside in SUBFOLDERS:
        found = (top / name / inside).resolve()
        if not found.is_relative_to(top) or found == top:
            raise TerminalUnavailableError(
                Code.UNKNOWN_ACCOUNT, "The folder leads out of the operators' root."
            )
        if (found / KEY).is_file():
            return found
    raise TerminalUnavailableError(
        Code.UNKNOWN_ACCOUNT, f"There is no folder of this name with a {KEY} in it."
    )


def check_key(folder: Path, password: str) -> None:
    """Raise TerminalUnavailableError unless the password is the folder's key."""
    try:
        key = file_io.read(folder / KEY).strip()
    except OSError as error:
        raise TerminalUnavailableError(
            Code.NOT_CONNECTED, f"The folder cannot be read: {error}"
        ) from error
    if not key or not hmac.compare_digest(key, password.encode()):
        raise TerminalUnavailableError(
            Code.CREDENTIALS_REFUSED, f"The password is not the one in {KEY}."
        )

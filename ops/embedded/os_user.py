"""The user that embedded servers run as: the present user, but never root."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.embedded.errors import EmbeddedError

UNPRIVILEGED = "nobody"


@dataclass(frozen=True, slots=True)
class ServerUser:
    """A user that a server runs as. dropped: it is not the user of this process."""

    uid: int
    gid: int
    dropped: bool

    def own(self, path: Path) -> None:
        """Give a file or folder to this user."""
        if self.dropped:
            os.chown(path, self.uid, self.gid)

    def popen(self) -> dict[str, Any]:
        """Return the arguments that make subprocess run a program as this user."""
        if not self.dropped:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def may(self, how: str, path: Path) -> bool:
        """Return whether this user may read ("r"), write ("w") or enter and run ("x") `path`."""
        command = ["test", f"-{how}", str(path)]
        return subprocess.run(command, cwd="/", check=False, **self.popen()).returncode == 0


def server_user() -> ServerUser:
    """Return the present user; for root, the caller of sudo, else the system's unprivileged user.

    Raises EmbeddedError if the system has no such user.
    """
    if os.geteuid() != 0:
        return ServerUser(os.geteuid(), os.getegid(), dropped=False)
    uid = int(os.environ.get("SUDO_UID") or 0)
    gid = int(os.environ.get("SUDO_GID") or 0)
    if uid and gid:
        return ServerUser(uid, gid, dropped=True)
    try:
        fallback = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL never runs as root and this system has no user `{UNPRIVILEGED}`;"
            " run Fillcast as an ordinary user or set DATABASE_URL."
        ) from None
    return ServerUser(fallback.pw_uid, fallback.pw_gid, dropped=True)

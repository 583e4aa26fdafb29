"""As whom the servers run: as ourselves, but never as root."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.embedded.errors import EmbeddedError


@dataclass(frozen=True, slots=True)
class ServerUser:
    """A user that a server runs as. `dropped`: it is not the one that we run as."""

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
        """Tell whether this user may read ("r"), write ("w") or enter and run ("x") `path`."""
        command = ["test", f"-{how}", str(path)]
        return subprocess.run(command, cwd="/", check=False, **self.popen()).returncode == 0


def server_user() -> ServerUser:
    """Return ourselves; for root, whoever called sudo, else `nobody`."""
    if os.geteuid() != 0:
        return ServerUser(os.geteuid(), os.getegid(), dropped=False)
    uid = int(os.environ.get("SUDO_UID") or 0)
    gid = int(os.environ.get("SUDO_GID") or 0)
    if uid and gid:
        return ServerUser(uid, gid, dropped=True)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedError(
            "PostgreSQL never runs as root and this system has no user `nobody`;"
            " run Fillcast as an ordinary user or set DATABASE_URL."
        ) from None
    return ServerUser(nobody.pw_uid, nobody.pw_gid, dropped=True)

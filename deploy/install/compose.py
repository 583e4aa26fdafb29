"""`deploy/compose`: Docker Compose with server.env, which is checked before.

Compose itself would report one missing name at a time, start with a file that was cut off, and let
variables of the shell overrule the file. Secrets become files before, which containers read.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping

from deploy.install import container_secrets
from deploy.install.server_env import COMPOSE, FILE, ROOT, UnusableFileError, names_in, read

NO_EMAIL = (
    "FILLCAST_EMAIL_URL is not set: NO E-MAIL IS SENT. Links for forgotten passwords and\n"
    "alarms reach no one. Set it in server.env, then: deploy/compose up --detach"
)
OUTSIDE = ROOT / "deploy" / "outside.yml"
CERTIFICATES = ("ca.pem", "server.pem", "server.key")
RED, PLAIN = "\x1b[1;31m", "\x1b[0m"
NO_COMPOSE = (
    "Install Docker Engine with its Compose plugin: https://docs.docker.com/engine/install/"
)


def main(arguments: "list[str]") -> None:
    """Check server.env, then become Docker Compose."""
    try:
        values = read()
    except UnusableFileError as error:
        sys.exit(f"{FILE.name} cannot be used:\n  " + str(error).replace("\n", "\n  "))
    if "up" in arguments and not values.get("FILLCAST_EMAIL_URL"):
        print(red(NO_EMAIL) if sys.stderr.isatty() else NO_EMAIL, file=sys.stderr)
    command = [*program(os.environ), "--env-file", str(FILE), *files(values), *arguments]
    child = {**environment(os.environ, values), **write_secrets(values)}
    os.chdir(ROOT)
    os.execvpe(command[0], command, child)


def write_secrets(values: "Mapping[str, str]") -> "dict[str, str]":
    """Write the files of containers; return the variables that name them. Exits if that fails."""
    try:
        return container_secrets.write(values)
    except OSError as error:
        sys.exit(f"The secrets of {FILE.name} cannot be written for the containers: {error}")


def files(values: "Mapping[str, str]") -> "list[str]":
    """Return compose's options for its files. Exits if the certificates for outside are missing."""
    named = ["--file", str(COMPOSE)]
    if "outside" not in values.get("COMPOSE_PROFILES", "").split(","):
        return named
    missing = [name for name in CERTIFICATES if not (ROOT / "outside" / name).is_file()]
    if missing:  # compose would make a folder of each name
        sys.exit(f"outside/ lacks {', '.join(missing)}: deploy/outside-certificates HOST WORKER")
    return [*named, "--file", str(OUTSIDE)]


def red(text: str) -> str:
    """Return a text in red, for a terminal."""
    return f"{RED}{text}{PLAIN}"


def environment(shell: "Mapping[str, str]", values: "Mapping[str, str]") -> "dict[str, str]":
    """Return compose's environment: the file decides, not what the shell has exported."""
    needed, others = names_in(COMPOSE.read_text())
    kept = {name: value for name, value in shell.items() if name not in needed | others}
    kept["SOURCE_DATE_EPOCH"] = commit_time()
    profiles = values.get("COMPOSE_PROFILES", "")
    return {**kept, "COMPOSE_PROFILES": profiles} if profiles else kept


def commit_time() -> str:
    """Return the time of the commit, which an image of it has in place of the build's; else 0."""
    try:
        line = ["git", "log", "-1", "--format=%ct"]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:  # the files were copied to a server without git
        return "0"
    return done.stdout.strip() or "0"


def program(shell: "Mapping[str, str]") -> "list[str]":
    """Return the command of Docker Compose: what FILLCAST_COMPOSE names, or what is installed.

    Exits with what to install if there is none.
    """
    if named := shell.get("FILLCAST_COMPOSE"):
        return shlex.split(named)
    for candidate in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(candidate[0]) and _answers([*candidate, "version"]):
            return candidate
    sys.exit(NO_COMPOSE)


def _answers(command: "list[str]") -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    main(sys.argv[1:])

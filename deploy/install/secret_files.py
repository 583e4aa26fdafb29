"""`deploy/secret-files`: what server.env has, as a folder for systemd or Kubernetes.

One folder for each database role, with a file for each secret: web never gets the keys that open
credentials. settings.env has what is not secret. docs/systemd.md, docs/kubernetes.md
"""

import argparse
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from deploy.install.server_env import UnusableFileError, read

ALL = (
    "DATABASE_URL",
    "REDIS_URL",
    "FILLCAST_SECRET_KEY",
    "FILLCAST_EMAIL_URL",
    "FILLCAST_QUEUE_URL",
    "FILLCAST_SETTINGS_SOURCE",  # its JSON may have keys of other services
)
SECRETS = {
    "owner": ALL,
    "trade": (
        *ALL,
        "FILLCAST_DATABASES",
        "FILLCAST_CREDENTIALS_PRIVATE_KEYS",
        "FILLCAST_PUSH_PRIVATE_KEYS",
        "FILLCAST_BUSES",
    ),
    "web": (*ALL, "FILLCAST_DATABASES", "FILLCAST_METRICS_TOKEN"),
}
LOGINS = {"owner": "fillcast_owner", "trade": "trade", "web": "web"}
OF_COMPOSE = re.compile(
    r"COMPOSE_|POSTGRES_|REDIS_|TWS_|CADDY_|IB_|ARCHIVE$|TERMINALS$|TRADING_MODE$|.*_PASSWORD$"
    r"|FILLCAST_(HOST|CERTIFICATE|CERTIFICATE_FOLDER|WEB_PORT|BACKUP_KEY|BASE_IMAGE|EXTRAS"
    r"|PROCESS_MEMORY|POOLER_ADDRESS|IB_\w+|\w+_REPLICA_URL)$"
)
NEXT = """
systemd:    copy {folder} to /etc/fillcast (docs/systemd.md)
Kubernetes: for role in owner trade web; do
              kubectl create secret generic fillcast-$role --from-file={folder}/secrets/$role; done
            kubectl create configmap fillcast-settings --from-env-file={folder}/settings.env
Remove the folder afterwards; server.env stays the copy to keep."""


def main(arguments: "list[str]") -> None:
    """Write the folder, or exit with everything that is wrong."""
    parser = argparse.ArgumentParser(prog="deploy/secret-files", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder that does not exist yet")
    parser.add_argument(
        "--database", required=True, metavar="HOST/NAME",
        help="where PostgreSQL is: db.internal:5432/fillcast?sslmode=verify-full",
    )  # fmt: skip
    parser.add_argument(
        "--redis", required=True, metavar="URL",
        help="rediss://:PASSWORD@redis.internal:6379/0; the word PASSWORD as it is: it stands for"
        " REDIS_PASSWORD of server.env, since other users see command lines",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    faults = find_faults(options)
    try:
        values = read()
    except UnusableFileError as error:
        faults.append(f"server.env cannot be used:\n  {error}")
    if faults:
        sys.exit("\n".join(faults))
    write(options.folder, values, options.database, options.redis)
    print(f"{options.folder} is written, for you only.{NEXT.format(folder=options.folder)}")


def find_faults(options: argparse.Namespace) -> "list[str]":
    """Return a sentence for everything that is wrong with the options."""
    faults = []
    if options.folder.exists():
        faults.append(f"{options.folder} exists and is not overwritten: name another folder.")
    if not re.fullmatch(r"[\w.:\[\]-]+/[\w-]+(\?\S+)?", options.database):
        faults.append("--database must be host:port/name, without user and password.")
    if urlsplit(options.redis).scheme not in ("redis", "rediss"):
        faults.append("--redis must begin with redis:// or rediss://.")
    return faults


def write(folder: Path, values: "dict[str, str]", database: str, redis: str) -> None:
    """Write the folder, readable by its owner only."""
    folder.mkdir(mode=0o700, parents=True)
    redis = redis.replace(":PASSWORD@", f":{quote(values['REDIS_PASSWORD'], safe='')}@")
    for role, names in SECRETS.items():
        (folder / "secrets" / role).mkdir(parents=True)
        given = secrets_of(role, values, database, redis)
        for name in names:  # also what is not given: systemd starts no unit without a file it names
            _write(folder / "secrets" / role / name, given.get(name, "") + "\n")
    secret = {name for names in SECRETS.values() for name in names}
    public = [f"{n}={v}" for n, v in values.items() if n not in secret and not OF_COMPOSE.match(n)]
    _write(folder / "settings.env", "\n".join(public) + "\n")


def secrets_of(
    role: str, values: "Mapping[str, str]", database: str, redis: str
) -> "dict[str, str]":
    """Return the secrets of a database role, by the names of settings; those that are given.

    database: address and name. redis: the URL with its password.
    """
    password = quote(values[f"FILLCAST_{role.upper()}_PASSWORD"], safe="")
    files = {
        **{name: values[name] for name in SECRETS[role] if values.get(name)},
        "DATABASE_URL": f"postgresql://{LOGINS[role]}:{password}@{database}",
        "REDIS_URL": redis,
    }
    if role == "owner":  # it makes tables: past the pooler, and never on a replica
        return files
    pooler = values.get("FILLCAST_POOLER_ADDRESS", "")
    replica = values.get(f"FILLCAST_{role.upper()}_REPLICA_URL", "")
    ways = [f"pooler={pooler}"] * bool(pooler) + [f"replica={replica}"] * bool(replica)
    return {**files, "FILLCAST_DATABASES": " ".join(ways)} if ways else files


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])

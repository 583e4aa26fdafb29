"""`deploy/setup`: write server.env for a new installation, with every secret and key.

It asks nothing. It writes the file once, for its owner only, and never over another one.
"""

import argparse
import re
import socket
import ssl
import sys
import time
from pathlib import Path
from urllib.parse import quote

from deploy.install import keys
from deploy.install.memory import machine_megabytes, postgres_settings
from deploy.install.server_env import END, FILE, line, write_new

HOST = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]")
EMAIL = re.compile(r"(smtp|smtp\+tls|smtp\+ssl)://\S+")
SENDER = re.compile(r"([^<>@,\s][^<>@,\r\n]* )?<[^@\s,<>]+@[^@\s,<>]+>|[^@\s,<>]+@[^@\s,<>]+")
LOOPBACK = "localhost"
CERTIFICATE, KEY = "certificate.pem", "key.pem"
EXPLANATION = """\
Write server.env, with every secret and key that docker-compose.yml needs.

  deploy/setup trade.example.com      certificates are fetched and renewed by Caddy
  deploy/setup --trial                a trial: plain http, for this machine only
"""
BACK_UP = f"""
{FILE.name} is written. KEEP A COPY AWAY FROM THIS SERVER, and apart from the database's backups:
without FILLCAST_CREDENTIALS_PRIVATE_KEYS no stored broker credential can be read again, and
FILLCAST_INSTALLATION_TAG finds your orders at brokers. With it and a backup all can be read.

Next:
  deploy/compose up --detach --build
  deploy/manage create_operator olga
  then sign in at {{address}}/admin/"""


def main(arguments: "list[str]", path: Path = FILE) -> None:
    """Write the file, or exit with what is wrong with the options."""
    options = _parser().parse_args(arguments)
    if options.email_url == "-":
        options.email_url = sys.stdin.readline().strip()
    if path.exists():
        sys.exit(
            f"{path.name} exists and is not overwritten: it holds the keys of an installation. To"
            f" start a new one, move it away together with its database."
        )
    if faults := find_faults(options):
        sys.exit("\n".join(faults))
    values = settings(options)
    try:
        write_new(path, text(values))
    except FileExistsError:
        sys.exit(f"{path.name} exists and is not overwritten.")
    print(BACK_UP.format(address=values["FILLCAST_PUBLIC_URL"]))
    for note in notes(options):
        print(f"\n{note}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deploy/setup",
        description=EXPLANATION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("host", nargs="?", help="the name under which browsers reach this server")
    add("--trial", action="store_true", help=f"plain http at {LOOPBACK}, without a host name")
    add("--email-url", default="", help="mail server: smtp+tls://user:password@host:587;"
        " - reads it from standard input, since other users see command lines")  # fmt: skip
    add("--email-from", default="", help="sender of e-mail (default: fillcast@HOST)")
    add(
        "--certificate-folder",
        type=Path,
        help=f"use your own certificate: an absolute path of a folder with {CERTIFICATE} and {KEY}",
    )
    add("--own-proxy", action="store_true", help="TLS ends at a proxy of yours on this machine")
    add("--port", type=int, default=8012, help="for the trial and for your own proxy (%(default)s)")
    add("--memory", type=int, metavar="MB", help="of this server (default: what it has)")
    return parser


def find_faults(options: argparse.Namespace) -> "list[str]":
    """Return a sentence for everything that is wrong with the options."""
    faults = []
    if bool(options.host) == options.trial:
        faults.append("Give the server's host name, or --trial. deploy/setup --help explains both.")
    elif options.host and not HOST.fullmatch(options.host):
        faults.append(f"{options.host!r} is not a host name such as trade.example.com.")
    if options.trial and (options.certificate_folder or options.own_proxy):
        faults.append("A trial has no TLS: leave --certificate-folder and --own-proxy out.")
    if options.certificate_folder and options.own_proxy:
        faults.append("Your own proxy has the certificate: leave --certificate-folder out.")
    if options.email_url and not EMAIL.fullmatch(options.email_url):
        faults.append("--email-url must be smtp+tls://user:password@host:port or similar.")
    if options.email_from and not SENDER.fullmatch(options.email_from):
        faults.append("--email-from must be an address such as fillcast@trade.example.com.")
    if options.email_from and (not options.email_url or "from=" in options.email_url):
        faults.append("--email-from needs an --email-url that names no sender.")
    if "'" in options.email_url + options.email_from or "\\" in options.email_url:
        faults.append("Write ' and \\ in --email-url as %27 and %5C.")
    if options.memory is not None and options.memory < 1024:
        faults.append("--memory: a server needs 1024 MB at least; 4096 are comfortable.")
    if options.certificate_folder:
        faults += _certificate_faults(options.certificate_folder)
    return faults


def _certificate_faults(folder: Path) -> "list[str]":
    """Return why a certificate cannot be used: missing, not of this key, ended."""
    if not folder.is_absolute():
        return ["--certificate-folder must be an absolute path."]
    certificate, key = folder / CERTIFICATE, folder / KEY
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        return [f"{certificate} and {key} cannot be used together: {error}"]
    if (ends := _end_of(certificate)) and ssl.cert_time_to_seconds(ends) < time.time():
        return [f"{certificate} ended at {ends}."]
    return []


def _end_of(certificate: Path) -> str:
    """Return when a certificate ends; "" if this Python cannot read it."""
    decode = getattr(getattr(ssl, "_ssl", None), "_test_decode_cert", None)
    return str(decode(str(certificate))["notAfter"]) if decode else ""


def settings(options: argparse.Namespace) -> "dict[str, str]":
    """Return the values of a new server.env, with new keys and passwords."""
    private, public = keys.credentials_key_pair()
    host = options.host or LOOPBACK
    address = f"http://{LOOPBACK}:{options.port}" if options.trial else f"https://{host}"
    uses_caddy = not options.trial and not options.own_proxy
    values = {
        "COMPOSE_PROFILES": "tls" if uses_caddy else "",
        "FILLCAST_HOST": host if uses_caddy else "",
        "FILLCAST_CERTIFICATE": "own" if options.certificate_folder else "",
        "FILLCAST_CERTIFICATE_FOLDER": str(options.certificate_folder or ""),
        "FILLCAST_PUBLIC_URL": address,
        "FILLCAST_WEB_PORT": str(options.port) if options.port != 8012 else "",
        "FILLCAST_EMAIL_URL": _mail(options),
        "FILLCAST_INSTALLATION_TAG": keys.installation_tag(),
        "FILLCAST_SECRET_KEY": keys.secret_key(),
        "FILLCAST_CREDENTIALS_PUBLIC_KEY": public,
        "FILLCAST_CREDENTIALS_PRIVATE_KEYS": private,
        "POSTGRES_PASSWORD": keys.password(),
        "FILLCAST_OWNER_PASSWORD": keys.password(),
        "FILLCAST_TRADE_PASSWORD": keys.password(),
        "FILLCAST_WEB_PASSWORD": keys.password(),
        "REDIS_PASSWORD": keys.password(),
        "FILLCAST_METRICS_TOKEN": keys.password(),
        "FILLCAST_BACKUP_KEY": keys.password(),
        **postgres_settings(options.memory or machine_megabytes()),
    }
    return {name: value for name, value in values.items() if value}


def _mail(options: argparse.Namespace) -> str:
    """Return the mail server's URL with the sender, if the options name one."""
    if not options.email_from:
        return str(options.email_url)
    sign = "&" if "?" in options.email_url else "?"
    return f"{options.email_url}{sign}from={quote(options.email_from, safe='@')}"


def text(values: "dict[str, str]") -> str:
    """Return the text of the file."""
    lines = [
        "# Written by deploy/setup. Secret: everything of this installation can be read with it.",
        "# server.env.example lists what else can be set. deploy/compose reads this file.",
        *[line(name, value) for name, value in values.items()],
        END,
    ]
    return "\n".join(lines) + "\n"


def notes(options: argparse.Namespace) -> "list[str]":
    """Return what the operator should know besides."""
    found = []
    if not options.email_url:
        found.append("No --email-url: no e-mail is sent. Set FILLCAST_EMAIL_URL in server.env.")
    if options.trial:
        found.append("A trial: passwords travel without TLS, so only this machine can connect.")
    ports = [options.port] if options.trial or options.own_proxy else [80, 443]
    found += [
        f"Port {port} of this machine is in use: stop the program that listens there."
        for port in ports
        if is_taken(port)
    ]
    return found


def is_taken(port: int) -> bool:
    """Whether a program of this machine listens on a port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    main(sys.argv[1:])

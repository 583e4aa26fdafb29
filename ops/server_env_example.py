"""server.env.example: every name that docker-compose.yml reads, with a sentence for each."""

from config.env import VARIABLES
from deploy.install.server_env import BESIDES, COMPOSE, END, names_in

HEAD = """\
# manage.py settings_reference writes this file from docker-compose.yml and config/env.py.
# deploy/setup writes server.env with new keys and passwords; uncomment there what should differ.
# Values with blanks, $ or # stand between '…'. docs/settings.md states what each value may be.
"""
# Read by docker-compose.yml, not by Fillcast's processes.
SENTENCES = {
    "COMPOSE_PROFILES": "With commas: tls (Caddy), ibkr (IB Gateway), outside (workers elsewhere).",
    "ARCHIVE": "Folder of this machine, or a volume, for archived rows (docs/retention.md).",
    "CADDY_IMAGE": "Image of Caddy.",
    "FILLCAST_BACKUP_KEY": "Encrypts what deploy/backup writes.",
    "FILLCAST_BASE_IMAGE": "Image with Python that Fillcast's own is built on.",
    "FILLCAST_CERTIFICATE": "automatic: Caddy fetches it; own: your files; internal: tests.",
    "FILLCAST_CERTIFICATE_FOLDER": "Absolute path of a folder with certificate.pem and key.pem.",
    "FILLCAST_EXTRAS": "More to install in the image, such as crypto.",
    "FILLCAST_HOST": "Name of this server, for which Caddy fetches a certificate.",
    "FILLCAST_IB_GATEWAY": "Address of the IB Gateway's container.",
    "FILLCAST_IB_OTHERS": "Addresses for the other containers of its network.",
    "FILLCAST_IB_SUBNET": "Its network.",
    "FILLCAST_OWNER_PASSWORD": "Password of the owner of the tables. Letters and digits only.",
    "FILLCAST_POOLER_ADDRESS": "host:port of PgBouncer.",
    "FILLCAST_PROCESS_MEMORY": "Most memory of each of Fillcast's processes.",
    "FILLCAST_TRADE_PASSWORD": "Password of the workers' login. Letters and digits only.",
    "FILLCAST_TRADE_REPLICA_URL": "Of a streaming replica, with the workers' login.",
    "FILLCAST_WEB_REPLICA_URL": "Of a streaming replica, with the web process's login.",
    "FILLCAST_WEB_PASSWORD": "Password of the web process's login. Letters and digits only.",
    "FILLCAST_WEB_PORT": "Port of this machine, for a proxy of yours and for trials.",
    "IB_RESTART_TIME": "When the IB Gateway restarts itself.",
    "POSTGRES_CACHE_SIZE": "effective_cache_size: three quarters of POSTGRES_MEMORY.",
    "POSTGRES_IMAGE": "Image of PostgreSQL. Its major version must be that of the data.",
    "POSTGRES_MAINTENANCE_MEMORY": "maintenance_work_mem.",
    "POSTGRES_MEMORY": "Most memory of PostgreSQL.",
    "POSTGRES_PASSWORD": "Password of PostgreSQL's superuser.",
    "POSTGRES_SHARED_BUFFERS": "shared_buffers: a quarter of POSTGRES_MEMORY.",
    "REDIS_IMAGE": "Image of Redis.",
    "REDIS_MEMORY": "Most memory of Redis.",
    "REDIS_PASSWORD": "Password of Redis. Letters and digits only.",
    "TERMINALS": "Folder of this machine, or a volume, with the MetaTrader 4 terminals.",
    "TRADING_MODE": "Of the IB Gateway: paper or live.",
    "TWS_PASSWORD": "Password of the IB Gateway's login.",
    "TWS_USERID": "The IB Gateway's login.",
}


def example() -> str:
    """Return the file. Raises KeyError for a name without a sentence."""
    needed, others = names_in(COMPOSE.read_text())
    sentences = {variable.name: variable.sentence for variable in VARIABLES} | SENTENCES
    lines = [HEAD, "# --- Needed: deploy/setup writes them"]
    lines += [f"# {sentences[name]}\n{name}=" for name in sorted(needed)]
    lines += ["\n# --- With defaults, in docker-compose.yml or in the processes themselves"]
    for name in sorted(others | BESIDES):
        lines.append(f"# {sentences[name]}\n#{name}=")
    return "\n".join([*lines, END]) + "\n"

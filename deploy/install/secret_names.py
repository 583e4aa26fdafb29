"""The names of `server.env` that no container has in its environment: they are files there.

docker-compose.yml does not name them; deploy/install/container_secrets.py writes them.
"""

NEEDED = frozenset(
    {
        "POSTGRES_PASSWORD", "FILLCAST_OWNER_PASSWORD", "FILLCAST_TRADE_PASSWORD",
        "FILLCAST_WEB_PASSWORD", "REDIS_PASSWORD", "FILLCAST_SECRET_KEY",
        "FILLCAST_CREDENTIALS_PRIVATE_KEYS",
    }
)  # fmt: skip
OTHERS = frozenset(
    {
        "FILLCAST_EMAIL_URL", "FILLCAST_METRICS_TOKEN", "FILLCAST_PUSH_PRIVATE_KEYS",
        "FILLCAST_BUSES", "FILLCAST_QUEUE_URL", "TWS_PASSWORD",
        "FILLCAST_SETTINGS_SOURCE",  # its JSON may have keys of other services
        # Parts of FILLCAST_DATABASES, which has the logins of replicas:
        "FILLCAST_POOLER_ADDRESS", "FILLCAST_TRADE_REPLICA_URL", "FILLCAST_WEB_REPLICA_URL",
    }
)  # fmt: skip

"""The paper broker as a server: a broker that survives when our processes are killed.

`python -m tests.fakes.paper_server` serves the books of the database that DATABASE_URL names.
`adapter` talks to it over TCP. `environ_for` is the environment of processes that shall use it;
`brokers.paper.exchange.use` says how they do.
"""


def environ_for(address: str) -> dict[str, str]:
    """Return the environment of a process whose paper broker listens on this host:port."""
    return {
        "DJANGO_SETTINGS_MODULE": "tests.fakes.paper_server.settings",
        "PAPER_SERVER": address,
    }

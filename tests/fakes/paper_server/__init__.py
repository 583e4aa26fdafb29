"""The paper broker as a server: a broker that survives when our processes are killed.

`python -m tests.fakes.paper_server` serves the books of the database that DATABASE_URL names.
`adapter` talks to it over TCP. Processes started with `environ_for` use it in place of the broker
in the process; `brokers.paper.exchange.use` explains how.
"""


def environ_for(address: str) -> dict[str, str]:
    """Return the environment of a process whose paper broker listens on this host:port."""
    return {
        "DJANGO_SETTINGS_MODULE": "tests.fakes.paper_server.settings",
        "PAPER_SERVER": address,
    }

"""The Django app that makes a process use the server."""

from django.apps import AppConfig


class PaperServerConfig(AppConfig):
    """Makes a process use the server: see `brokers.paper.exchange.use`."""

    name = "tests.fakes.paper_server"

    def ready(self) -> None:
        from brokers.paper import exchange
        from brokers.registry import BUILT_IN
        from tests.fakes.paper_server.endpoint import server_address
        from tests.fakes.paper_server.operations import ExchangeClient

        BUILT_IN["paper"] = "tests.fakes.paper_server.adapter:create"
        exchange.use(ExchangeClient(*server_address()))

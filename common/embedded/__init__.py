"""PostgreSQL and Redis for a machine that has neither: started from wheels, kept under var/."""

from common.embedded.errors import EmbeddedError
from common.embedded.holding import AlreadyHeldError, Holding, told_by_holder
from common.embedded.postgres import PostgresServer
from common.embedded.redis import RedisServer
from common.embedded.servers import Servers, running_urls

__all__ = [
    "AlreadyHeldError",
    "EmbeddedError",
    "Holding",
    "PostgresServer",
    "RedisServer",
    "Servers",
    "running_urls",
    "told_by_holder",
]

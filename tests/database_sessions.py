"""Database sessions beside Django's own."""

from typing import Any

import psycopg
from django.db import connections


def raw() -> psycopg.Connection[Any]:
    """Return a new session."""
    parameters = connections["default"].get_connection_params()
    return psycopg.connect(
        host=parameters["host"], port=parameters["port"], user=parameters["user"],
        password=parameters["password"], dbname=parameters["dbname"], autocommit=True,
    )  # fmt: skip

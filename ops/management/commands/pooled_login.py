"""manage.py pooled_login: give a login the parameters that a transaction pooler drops."""

import os
from argparse import ArgumentParser
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError
from psycopg.sql import SQL, Identifier, Literal

from config import databases
from config.env import Settings

# In the database only: a server may have more than one installation.
STATEMENT = SQL("ALTER ROLE {login} IN DATABASE {database} SET {name} = {value}")


class Command(BaseCommand):
    """Alter the login of this process, as itself and past the pooler."""

    help = (
        "Give the login of this process (trade= of FILLCAST_DATABASES, or the web process's) its"
        " time-outs for FILLCAST_LEASE_SECONDS: through a pooler no session can"
        " request them. Run it with the settings of a worker and with those of the web process,"
        " again after a change of the lease, and then RECONNECT in PgBouncer's console."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add --sql."""
        parser.add_argument(
            "--sql", action="store_true", help="print the statements, for a superuser, do nothing"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run or print the statements."""
        settings = Settings.read(os.environ)
        if not databases.is_pooled(settings):
            raise CommandError(
                "This process uses no pooler: set FILLCAST_DB_ROLE to trade or web, and"
                " FILLCAST_DATABASES with pooler=HOST:PORT."
            )
        try:
            with psycopg.connect(_past_the_pooler(settings), connect_timeout=5) as session:
                for statement in _statements(settings, session):
                    if options["sql"]:
                        self.stdout.write(f"{statement.as_string(session)};")
                    else:
                        session.execute(statement)
                login = session.info.user
        except psycopg.Error as error:
            raise CommandError(str(error)) from error
        if not options["sql"]:
            self.stdout.write(f"The login {login} has its parameters. Run RECONNECT in PgBouncer.")


def _statements(settings: Settings, session: psycopg.Connection[Any]) -> list[Any]:
    login, database = Identifier(session.info.user), Identifier(session.info.dbname)
    parameters = databases.session_parameters(settings).items()
    return [
        STATEMENT.format(
            login=login, database=database, name=Identifier(name), value=Literal(str(value))
        )
        for name, value in parameters
    ]


def _past_the_pooler(settings: Settings) -> str:
    """Return the URL of this process's login at the server of DATABASE_URL."""
    return databases.with_login(
        settings.database_url or databases.UNSET, databases.login(settings)[1]
    )

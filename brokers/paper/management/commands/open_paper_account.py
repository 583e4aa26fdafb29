"""manage.py open_paper_account: an account to try everything with."""

import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from brokers.paper import exchange
from brokers.paper.models import PaperAccount
from common.errors import InvalidInputError
from common.money import plain, read_decimal

NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


class Command(BaseCommand):
    """Open an account at the paper broker."""

    help = (
        "Open an account at the paper broker, wherever its books are. One that exists stays as it"
        " is. A tenant then adds it by its number in the portal."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("number", help="what the account is known by, e.g. 1001")
        parser.add_argument("--balance", default="10000", help="default: %(default)s")
        parser.add_argument(
            "--currency",
            default="USD",
            help=f"one of {', '.join(exchange.CURRENCIES)}; default: %(default)s",
        )
        parser.add_argument(
            "--mode",
            choices=[mode.value for mode in PaperAccount.Mode],
            default=PaperAccount.Mode.HEDGING.value,
            help="one position for each entry, or one for each symbol (default: %(default)s)",
        )

    def handle(
        self, *_args: Any, number: str, balance: str, currency: str, mode: str, **_: Any
    ) -> None:
        """Open it, with what the broker lists."""
        try:
            amount = read_decimal(balance, field="balance", positive=True)
        except InvalidInputError as error:
            raise CommandError(f"--balance: {error.detail}") from error
        if not NUMBER.fullmatch(number):
            raise CommandError(
                f"{number!r} is not an account's number, such as 1001: up to 60 letters, digits,"
                " dots, underscores and hyphens."
            )
        currency = currency.upper()
        if currency not in exchange.CURRENCIES:
            offered = ", ".join(exchange.CURRENCIES)
            raise CommandError(f"--currency: {currency!r} is not offered, only {offered}.")
        exchange.list_instruments()
        exchange.open_account(number, balance=amount, currency=currency, position_mode=mode)
        self.stderr.write(f"Paper account {number}: {plain(amount)} {currency}, {mode.lower()}.")

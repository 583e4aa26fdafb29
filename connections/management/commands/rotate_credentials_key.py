"""Reseal all credentials and notification URLs for the current key."""

import base64
import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from common.errors import MisconfiguredError
from common.sealing import new_private_key, public_key_of
from connections.credentials.key_rotation import Rotation, count_rows_to_reseal, reseal_all

STEPS = """
To rotate the key without an interruption:
  1. `manage.py rotate_credentials_key --new` prints a new pair of keys.
  2. On the workers, put the new private key FIRST in FILLCAST_CREDENTIALS_PRIVATE_KEYS, the old
     one behind it, and restart them. Never give a private key to the web process.
  3. Everywhere, set FILLCAST_CREDENTIALS_PUBLIC_KEY to the new public key and restart.
  4. Run `manage.py rotate_credentials_key` here, with both settings. After an interruption run it
     again: it continues where it stopped.
  5. When it reports that nothing is left, remove the old private key.
"""


class Command(BaseCommand):
    """`manage.py rotate_credentials_key`: reseal everything, or print a new pair of keys."""

    help = (
        "Reseal all broker credentials, notification URLs and bot tokens for the current key."
        + STEPS
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.formatter_class = _as_written(parser)
        parser.add_argument("--new", action="store_true", help="only print a new pair of keys")
        parser.add_argument("--check", action="store_true", help="only count what is left")
        parser.add_argument("--batch", type=int, default=500, help="rows per transaction (500)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the result as JSON. Raises CommandError if rows still need an older key."""
        if options["new"]:
            return self._print_pair()
        try:
            done = Rotation() if options["check"] else self._rotate(options["batch"])
            left = count_rows_to_reseal()
        except MisconfiguredError as error:
            raise CommandError(str(error)) from error
        result = {"ok": left == 0, "resealed": done.resealed, "left": left, "closed": done.unopened}
        self.stdout.write(json.dumps(result))
        if left:
            raise CommandError(
                f"{left} rows still need an older key."
                + (f" No key here opens: {', '.join(done.unopened)}." if done.unopened else "")
            )
        return None

    def _rotate(self, batch: int) -> Rotation:
        done = Rotation()
        for done in reseal_all(batch=batch):
            self.stderr.write(f"{done.checked} rows checked, {done.resealed} resealed")
        return done

    def _print_pair(self) -> None:
        private = new_private_key()
        pair = {"PRIVATE_KEYS": private, "PUBLIC_KEY": public_key_of(private)}
        for name, key in pair.items():
            self.stdout.write(f"FILLCAST_CREDENTIALS_{name}={base64.b64encode(key).decode()}")


def _as_written(parser: ArgumentParser) -> Any:
    """Return a formatter that keeps the line breaks of the help."""

    class Formatter(parser.formatter_class, RawDescriptionHelpFormatter):  # type: ignore[misc, name-defined]
        pass

    return Formatter

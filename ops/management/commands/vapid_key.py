"""manage.py vapid_key: make the pair of keys for push messages of browsers."""

from typing import Any

from django.core.management.base import BaseCommand

from events.push_keys import encoded, new_private_key, public_key_of

NEXT = """
Where to put them:
  1. FILLCAST_PUSH_PUBLIC_KEY: in the settings of every process (with docker compose: `.env`).
  2. FILLCAST_PUSH_PRIVATE_KEYS: in those of the workers only, in a file that only they can read. If
     it holds a key already, put the new one first and a comma between: browsers that subscribed
     with the older key still get messages, and subscribe again when Fillcast is next opened there.
  3. messages.push_contact: an e-mail address at which push services may reach you.
Then restart all processes. Users find “Notify this browser” under Notifications. These keys are
shown only here and stored nowhere. Without the private key every browser must subscribe again.
"""


class Command(BaseCommand):
    """`manage.py vapid_key`: print a new pair of keys as lines of an env file."""

    help = (
        "Make the pair of keys (VAPID, RFC 8292) with which this installation sends push messages"
        " to browsers, and print them as lines of an env file. A development installation (`make"
        " demo`, `make up`) has a pair of its own."
    )
    requires_system_checks = ()

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Write the settings to standard output, and what to do with them to standard error."""
        private = new_private_key()
        self.stdout.write(f"FILLCAST_PUSH_PUBLIC_KEY={encoded(public_key_of(private))}")
        self.stdout.write(f"FILLCAST_PUSH_PRIVATE_KEYS={encoded(private)}")
        self.stderr.write(NEXT.rstrip())

"""Every page of the portal as each caller, with the outcomes of its matrix."""

from collections.abc import Iterator
from typing import Any

from django.urls import reverse

from common.permissions import Role
from events.models import WebhookMessage
from events.services import create_channel
from signals.models import Feed
from tests.portal.factories import World
from tests.portal.role_matrix import CELLS, OWN, PAGES, YES
from tests.portal.role_matrix import CONSOLE as TO_CONSOLE
from tests.portal.test_access import WITH_OWNER, args
from tests.roles import staff
from tests.stack.asking import (
    ADMINISTRATOR,
    CALLERS,
    CONSOLE,
    FORM,
    NO_ROLE,
    OPERATOR,
    OTHER,
    OWNER,
    PASSWORD,
    SIGN_IN,
    VISITOR,
    Cell,
)
from users.services import create_api_key

NAMES = {OWNER: "alice", OTHER: "bob", ADMINISTRATOR: "anna", OPERATOR: "olga", NO_ROLE: "nils"}
COLUMNS = {VISITOR: 0, OWNER: 1, OTHER: 1, OPERATOR: 2, ADMINISTRATOR: 2, NO_ROLE: 3}
GETS, POSTS = {"200", "302"}, {"200", "302", "405", "422"}
TYPED = {"fraction": "1", "name": "changed", "cancel_working": "on"}
ENDS_SESSIONS = (
    "security:password", "security:sessions_end", "security:session_end", "security:delete_login",
    "portal:sign_out",
)  # fmt: skip
GUESSES: dict[str, dict[str, Any]] = {
    "visitor:sign_up_finish": {"token": "a:b:c"},
    "visitor:invitation": {"secret": "a" * 32},
    "visitor:reset_password": {"uid": "MQ", "token": "a-b"},
    "visitor:confirm_address": {"token": "a:b:c"},
    "security:session_end": {"reference": "a" * 24},
    "security:channel_new": {"service": "webhook"},
}
"""Secrets that no one has, and names of no row."""
DEAD = {"visitor:sign_up": "404", "visitor:sign_up_finish": "404"} | dict.fromkeys(
    ("visitor:invitation", "visitor:reset_password", "visitor:confirm_address"), "410"
)
CONFIRMATION = "security:channel_confirm"


class PortalWorld:
    """The rows of tests/portal/factories.py, with a key and a channel of Alice's, and staff."""

    def __init__(self) -> None:
        self.rows = World()
        for owner in (self.rows.alice, self.rows.bob):
            slug = f"of-{owner.username}"
            Feed.objects.create(slug=slug, name=slug, owner=owner, is_public=False)
        staff(Role.ADMINISTRATOR, name="anna", password=PASSWORD)
        staff(name="nils", password=PASSWORD)
        alice = self.rows.alice
        self.key = create_api_key(alice, "report script")[0].pk
        channel = create_channel(user_id=alice.pk, name="mail", url="mailto:alice@example.com")
        message = WebhookMessage.objects.create(channel=channel, uid="msg_1", events=1)
        self.channel, self.message = channel.pk, message.pk

    def address(self, name: str) -> str:
        """Return the address of a page; of Alice's row where it needs one."""
        app, _, short = name.partition(":")
        if app == "portal":
            return reverse(name, kwargs=args(self.rows, short, "alice"))
        return reverse(name, kwargs=self._arguments(name))

    def _arguments(self, name: str) -> dict[str, Any]:
        if name in GUESSES:
            return GUESSES[name]
        if name == "security:key_revoke":
            return {"pk": self.key}
        if name == "security:message_resend":
            return {"pk": self.message}
        if name == CONFIRMATION:
            return {"pk": self.channel, "code": "a" * 24}
        return {"pk": self.channel} if name in OF_CHANNEL else {}


OF_CHANNEL = {
    f"security:channel{end}" for end in ("", "_rules", "_secret", "_test", "_resend", "_remove")
}
OF_ALICE = {f"portal:{name}" for name in WITH_OWNER} | {
    "security:key_revoke", "security:message_resend", CONFIRMATION, *OF_CHANNEL,
}  # fmt: skip


def expected(name: str, caller: str, permitted: set[str]) -> set[str]:
    """Return the outcomes that the matrix allows; for Alice's rows, others get 404."""
    cell = CELLS[PAGES[name]][COLUMNS[caller]]
    if cell == TO_CONSOLE:
        return {CONSOLE}
    if cell not in (OWN, YES):
        return {SIGN_IN}
    if name in ("portal:sign_in", "portal:sign_out"):
        return {*permitted, "405", SIGN_IN, CONSOLE}
    if name in DEAD:
        return {DEAD[name]}
    is_own = caller == OWNER and name != CONFIRMATION  # it needs a code, which is a guess here
    return {"404"} if name in OF_ALICE and not is_own else permitted


def cells(world: PortalWorld) -> Iterator[Cell]:
    """Yield the requests of each page; the last ones end the session."""
    last = {name: number for number, name in enumerate(ENDS_SESSIONS, 1)}
    for number, name in enumerate(sorted(PAGES, key=lambda name: last.get(name, 0))):
        path = world.address(name)
        resting = (OPERATOR, ADMINISTRATOR)[number % 2]  # one column of the matrix has both
        for caller in CALLERS:
            if caller == resting:
                continue
            gets, posts = (frozenset(expected(name, caller, may)) for may in (GETS, POSTS))
            yield Cell(name, caller, "GET", path, gets)
            yield Cell(name, caller, "POST", path, posts, TYPED, FORM)
            if caller == OWNER:
                yield Cell(name, caller, "HEAD", path, gets)
                yield Cell(name, caller, "POST", path, posts, None, FORM)

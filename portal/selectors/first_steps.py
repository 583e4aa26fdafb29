"""The first steps of a tenant, from an account to the first signal: done by what exists."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.urls import NoReverseMatch, reverse

from portal.selectors.accounts import Account

PREFLIGHT = "portal:preflight"  # of a feed, by its slug


@dataclass(frozen=True, slots=True)
class Step:
    """One step. why: what it is good for. link, label: where it is done; '' if not possible yet.

    is_next: the first one that is left. is_optional: the steps after it do not need it.
    """

    title: str
    why: str
    is_done: bool
    link: str = ""
    label: str = ""
    is_optional: bool = False
    is_next: bool = False


def first_steps(
    accounts: Sequence[Account], *, subscriptions: int, ran_preflight: bool
) -> list[Step]:
    """Return the steps in order, by what a tenant has. A feed is chosen to check or to take it."""
    steps = [
        Step(
            "Account", "Where trades are made: at your broker, or a paper account to try it all.",
            bool(accounts), reverse("portal:account_add"), "Add an account",
        ),
        _test(accounts),
        _limits(accounts),
        Step(
            "Feed", "Each feed publishes signals. Read its terms before you choose it.",
            subscriptions > 0 or ran_preflight, reverse("portal:feeds"), "See the feeds",
        ),
        Step(
            "Preflight", "Shows what its last signals would have done on your account.",
            ran_preflight, _preflight_link(), "Choose a feed to check", is_optional=True,
        ),
        Step(
            "Subscribe", "Your account then trades each signal of the feed from the next one on.",
            subscriptions > 0, reverse("portal:feeds"), "Subscribe an account",
        ),
    ]  # fmt: skip
    at = next((n for n, s in enumerate(steps) if not s.is_done and not s.is_optional), None)
    return [replace(step, is_next=n == at) for n, step in enumerate(steps)]


def is_complete(steps: Sequence[Step]) -> bool:
    """Return whether nothing is left but what is optional."""
    return all(step.is_done or step.is_optional for step in steps)


def _test(accounts: Sequence[Account]) -> Step:
    passed = any(account.has_passed_test for account in accounts)
    link = _of_account(accounts, "portal:account", lambda one: not one.has_passed_test)
    return Step(
        "Test", "Shows that Fillcast reaches the account and may trade there. It places no order.",
        passed, link and link + "#checks", "See the test",
    )  # fmt: skip


def _limits(accounts: Sequence[Account]) -> Step:
    return Step(
        "Limits", "A preset sets how large a trade may be, and what is refused.",
        any(account.connection.preset_id for account in accounts),
        reverse("portal:presets"), "Choose a preset",
    )  # fmt: skip


def _of_account(accounts: Sequence[Account], page: str, wanted: object) -> str:
    """Return the page of the first account that is wanted; of any if none is, '' without one."""
    found = [one for one in accounts if callable(wanted) and wanted(one)] or list(accounts)
    return reverse(page, args=[found[0].connection.pk]) if found else ""


def _preflight_link() -> str:
    """Return where a preflight is started; '' in an installation without it."""
    try:
        reverse(PREFLIGHT, args=["any-feed"])
    except NoReverseMatch:
        return ""
    return reverse("portal:feeds")

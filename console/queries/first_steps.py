"""The steps from an empty installation to the first trade, as docs/first-hour.md tells them.

The console says each where a person looks for it: on the dashboard until a signal was published,
and on the list that is still empty.
"""

from dataclasses import dataclass

from common.sql import rows


@dataclass(frozen=True, slots=True)
class Step:
    """title: as in the docs. text: what it is good for and who does it. add: the console's form.
    model: whose empty list tells it. done: SQL that is true once it was taken."""

    title: str
    text: str
    add: str
    model: str
    done: str


STEPS = (
    Step(
        "A tenant",
        "A user without staff rights: whoever trades. Give them the name and the password.",
        "admin:users_user_add",
        "users.user",
        "EXISTS (SELECT FROM users_user WHERE NOT is_staff)",
    ),
    Step(
        "A feed",
        "A named stream of signals with an owner. Signals of an approved feed are published as they"
        " come; otherwise each waits for you.",
        "admin:signals_feed_add",
        "signals.feed",
        "EXISTS (SELECT FROM signals_feed WHERE archived_at IS NULL)",
    ),
    Step(
        "A price source",
        "Trades are sized and stops are watched by it. An account at a broker tells its own prices;"
        " for a paper account add one of constant or recorded quotes.",
        "admin:connections_dataconnection_add",
        "connections.dataconnection",
        "EXISTS (SELECT FROM connections_dataconnection)",
    ),
    Step(
        "A paper account",
        "To try everything without money: manage.py open_paper_account 1001 on the machine. With an"
        " account at a broker, pass this by.",
        "",
        "paper.paperaccount",
        "EXISTS (SELECT FROM paper_account)"
        " OR EXISTS (SELECT FROM connections_executionconnection WHERE type <> 'paper')",
    ),
    Step(
        "A preset",
        "How large a trade may be, and its limits. Every account needs one.",
        "admin:connections_tradingpreset_add",
        "connections.tradingpreset",
        "EXISTS (SELECT FROM connections_tradingpreset)",
    ),
    Step(
        "An account",
        "The tenant adds it in the portal (Accounts), or you here. It trades once its test has"
        " passed.",
        "admin:connections_executionconnection_add",
        "connections.executionconnection",
        "EXISTS (SELECT FROM connections_executionconnection WHERE archived_at IS NULL)",
    ),
    Step(
        "A subscription",
        "The tenant subscribes the account to the feed in the portal (Feeds). Accounts of operators"
        " take every approved feed by themselves.",
        "",
        "connections.subscription",
        "EXISTS (SELECT FROM connections_subscription WHERE archived_at IS NULL) OR EXISTS"
        " (SELECT FROM connections_executionconnection WHERE admin_id IS NOT NULL)",
    ),
    Step(
        "A signal",
        "Write one here and publish it, or send an alert (docs/tradingview.md). Its page shows what"
        " became of it at each account.",
        "admin:signals_signal_add",
        "signals.signal",
        "EXISTS (SELECT FROM signals_signal WHERE published_at IS NOT NULL)",
    ),
)


def steps_taken() -> list[tuple[Step, bool]]:
    """Return every step with whether it was taken, in one statement."""
    asked = ", ".join(f"({step.done}) AS s{number}" for number, step in enumerate(STEPS))
    (found,) = rows(f"SELECT {asked}")
    return list(zip(STEPS, map(bool, found), strict=True))


def step_of(model: str) -> Step | None:
    """Return the step that makes the first row of a model (`signals.feed`)."""
    return next((step for step in STEPS if step.model == model), None)

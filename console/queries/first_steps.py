"""The steps from an empty installation to the first trade, as in docs/first-hour.md.

The console shows them on the dashboard until a signal is published, and each on its empty list.
"""

from dataclasses import dataclass

from common.db.sql import rows


@dataclass(frozen=True, slots=True)
class Step:
    """One step. title: as in the docs. text: its purpose, and who does it.

    add: the name of the console's form. model: the model whose empty list shows it. done: SQL that
    is true once it is done.
    """

    title: str
    text: str
    add: str
    model: str
    done: str


STEPS = (
    Step(
        "A tenant",
        "The user who trades, without staff rights. Give them the user name and the password.",
        "admin:users_user_add",
        "users.user",
        "EXISTS (SELECT FROM users_user WHERE NOT is_staff)",
    ),
    Step(
        "A feed",
        "A named stream of signals with an owner. Signals of an approved feed are published"
        " automatically; others wait for your approval.",
        "admin:signals_feed_add",
        "signals.feed",
        "EXISTS (SELECT FROM signals_feed WHERE archived_at IS NULL)",
    ),
    Step(
        "A price source",
        "Its prices are used to size trades and to monitor stops. An account at a broker provides"
        " its own; for a paper account, add a source of constant or recorded quotes.",
        "admin:connections_dataconnection_add",
        "connections.dataconnection",
        "EXISTS (SELECT FROM connections_dataconnection)",
    ),
    Step(
        "A paper account",
        "To try everything without money. The tenant opens one by one click in the portal, on the"
        " overview. Skip this if you have an account at a broker.",
        "",
        "paper.paperaccount",
        "EXISTS (SELECT FROM paper_account)"
        " OR EXISTS (SELECT FROM connections_executionconnection WHERE type <> 'paper')",
    ),
    Step(
        "A preset",
        "Sets the size of trades, and limits. Every account needs one.",
        "admin:connections_tradingpreset_add",
        "connections.tradingpreset",
        "EXISTS (SELECT FROM connections_tradingpreset)",
    ),
    Step(
        "An account",
        "The tenant adds it in the portal (Accounts), or you add it here. It trades once its"
        " connection test has passed.",
        "admin:connections_executionconnection_add",
        "connections.executionconnection",
        "EXISTS (SELECT FROM connections_executionconnection WHERE archived_at IS NULL)",
    ),
    Step(
        "A subscription",
        "The tenant subscribes the account to the feed in the portal (Feeds). Operators' accounts"
        " take every approved feed automatically.",
        "",
        "connections.subscription",
        "EXISTS (SELECT FROM connections_subscription WHERE archived_at IS NULL) OR EXISTS"
        " (SELECT FROM connections_executionconnection WHERE admin_id IS NOT NULL)",
    ),
    Step(
        "A signal",
        "Create one here and publish it, or send an alert (docs/tradingview.md). Its page shows"
        " what each account did.",
        "admin:signals_signal_add",
        "signals.signal",
        "EXISTS (SELECT FROM signals_signal WHERE published_at IS NOT NULL)",
    ),
)


def steps_taken() -> list[tuple[Step, bool]]:
    """Return every step with whether it is done, in one statement."""
    conditions = ", ".join(f"({step.done}) AS s{number}" for number, step in enumerate(STEPS))
    (found,) = rows(f"SELECT {conditions}")
    return list(zip(STEPS, map(bool, found), strict=True))


def step_of(model: str) -> Step | None:
    """Return the step that makes the first row of a model (`signals.feed`)."""
    return next((step for step in STEPS if step.model == model), None)

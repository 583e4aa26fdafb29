"""Parts of other apps' SQL statements: what they test of signals."""

FEED_JOIN_SQL = "JOIN signals_feed f ON f.id = s.feed_id"
"""Joins the feed `f` of a signal `s`."""
OPEN_REQUESTS_SQL = "(SELECT count(*) FROM signals_approvalrequest WHERE outcome = '')"
"""How many feeds' requests for approval wait for a decision."""


def is_of_feed_sql(signal_id: str, feed_id: str) -> str:
    """Return SQL: whether a signal is of a feed. Both are expressions."""
    return (
        f"EXISTS (SELECT FROM signals_signal of_feed WHERE of_feed.id = {signal_id}"
        f" AND of_feed.feed_id = {feed_id})"
    )


def is_reversal_sql(signal_id: str) -> str:
    """Return SQL: whether a CLOSE is a part of a reversal. signal_id: an expression."""
    return (
        f"EXISTS (SELECT FROM signals_signal reversal WHERE reversal.id = {signal_id}"
        " AND reversal.is_reversal)"
    )


def feed_of_signal_sql(signal_id: str) -> str:
    """Return a scalar SELECT of the feed of a signal, an expression: a look-up for each row.

    With `is_of_feed_sql` the planner may begin with all signals of the feed, and does as long as
    its statistics know of few.
    """
    return f"(SELECT of_feed.feed_id FROM signals_signal of_feed WHERE of_feed.id = {signal_id})"


def is_of_pair_sql(signal_id: str, pair: str) -> str:
    """Return SQL: whether a signal is of a symbol. Both are expressions."""
    return (
        f"EXISTS (SELECT FROM signals_signal of_pair WHERE of_pair.id = {signal_id}"
        f" AND of_pair.currency_pair = {pair})"
    )


def signal_join_sql(signal_id: str) -> str:
    """Return SQL that joins the signal `s` with this id, an expression."""
    return f"JOIN signals_signal s ON s.id = {signal_id}"


def newest_close_sql(opened_id: str, *, of_a_part: bool) -> str:
    """Return SQL of the id of a signal's newest published CLOSE, of a part or of all; NULL: it has
    none.

    opened_id: an expression of the OPEN signal's id.
    """
    closes = "close_fraction < 1" if of_a_part else "close_fraction = 1"
    return (
        f"(SELECT f.id FROM signals_signal f WHERE f.refers_to_id = {opened_id}"
        f" AND f.action = 'CLOSE' AND f.{closes} AND f.published_at IS NOT NULL"
        " ORDER BY f.published_at DESC, f.id DESC LIMIT 1)"
    )


def published_sql(alias: str, since: str = "") -> str:
    """Return SQL to go on with AND: the published signals, under an alias, with a WHERE.

    since: an expression; only those published at this market time or later.
    """
    later = f"{alias}.published_at >= {since}" if since else f"{alias}.published_at IS NOT NULL"
    return f"signals_signal {alias} WHERE {later}"


def feed_name_sql(feed_id: str) -> str:
    """Return a scalar SELECT of the name of the feed with this id, an expression."""
    return f"(SELECT named.name FROM signals_feed named WHERE named.id = {feed_id})"

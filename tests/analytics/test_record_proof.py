"""Final results are sealed in their feed's chain, and the record is compared with them."""

from decimal import Decimal
from typing import Any

import pytest
from django.db import ProgrammingError, transaction

from analytics.models import FeedTrade
from analytics.records import computation as feed_records
from analytics.records.selectors import trades_of
from common.db.sql import rows, run
from connections.models import DataConnection
from signals.models import Feed
from signals.records.check import anchor, verify_feed
from signals.records.facts import LINKS_OF_SIGNALS
from signals.records.sql import HEADS, LINKS
from tests.analytics.test_feed_records import at, bars, published
from tests.signals.test_record_chain import RECHAIN, as_owner_without_triggers, verified

pytestmark = pytest.mark.django_db(transaction=True)
D = Decimal
DAY = 24 * 60
TRADES, RECORD = "analytics_feedtrade", "analytics_feedrecord"
LATER = "set_config('fillcast.correction', 'The price of 9:01 was wrong.', true)"


def compute(feed: Feed, *, days: int = 3) -> None:
    at(days * DAY)
    feed_records.compute_feed(feed)


@pytest.fixture
def record(feed: Feed, source: DataConnection) -> Feed:
    """Three trades: one loses, one gains, both final; one is open."""
    published(feed, source, sl=D("1.0952"))
    bars(source, (1, "1.1", "1.1", "1.0940", "1.0945"))
    published(feed, source, 3, sl=D("1.0952"), target_prices=[D("1.1052")],
              target_fractions=[D(1)])  # fmt: skip
    bars(source, (4, "1.1", "1.106", "1.099", "1.1055"))
    at(5)
    feed_records.compute_feed(feed)
    assert results(feed) == []  # subscribers' fills may still come
    published(feed, source, 3 * DAY - 10)
    compute(feed)
    return feed


def results(feed: Feed) -> list[Any]:
    return rows(
        f"SELECT number, signal_id, terms, sealed_later FROM {LINKS} WHERE feed_id = %s"
        " AND kind = 'RESULT' ORDER BY number",
        (feed.pk,),
    )


def test_final_result_is_sealed_once(record: Feed) -> None:
    lost, gained, open_trade = FeedTrade.objects.filter(feed=record).order_by("pk")
    found = results(record)
    assert [(link.number, link.signal_id) for link in found] == [(4, lost.pk), (5, gained.pk)]
    assert found[0].terms == {
        "pair": "EUR/USD", "direction": "BUY", "state": "CLOSED", "basis": "PRICES",
        "published_at": "2026-03-02T09:00:20+00:00", "ended_at": "2026-03-02T09:02:00+00:00",
        "entry_price": "1.1002", "exit_price": "1.0952", "r": "-1", "subscribers": "0",
        "percent": f"{lost.percent.normalize():f}",
    }  # fmt: skip
    assert (lost.is_final, gained.is_final, open_trade.is_final) == (True, True, False)
    compute(record, days=4)
    assert len(results(record)) == 2
    assert verify_feed(record.pk).wrong == []


def test_workers_role_seals_and_verifies_and_cannot_write_links(
    feed: Feed, source: DataConnection
) -> None:
    published(feed, source, sl=D("1.0952"))
    bars(source, (1, "1.1", "1.1", "1.0940", "1.0945"))
    run("SET ROLE fillcast_trade")
    try:
        compute(feed)
        assert len(results(feed)) == 1
        assert verify_feed(feed.pk).wrong == []
        with pytest.raises(ProgrammingError, match="permission denied"):
            run(f"DELETE FROM {LINKS} WHERE kind = 'RESULT'")
    finally:
        run("RESET ROLE")


def test_heads_and_anchors_of_before_stay_valid(feed: Feed, source: DataConnection) -> None:
    published(feed, source, sl=D("1.0952"))
    bars(source, (1, "1.1", "1.1", "1.0940", "1.0945"))
    at(5)
    kept = anchor(feed.pk)
    assert kept is not None
    compute(feed)
    assert len(results(feed)) == 1
    sentences, last, code = verified(feed, "--expect", kept.text)
    assert (last["links"], last["anchors"], code) == (2, 1, 0), sentences


def test_messages_about_a_signal_state_the_link_of_its_publication(record: Feed) -> None:
    first, *_ = FeedTrade.objects.filter(feed=record).order_by("pk")
    found = rows(LINKS_OF_SIGNALS, [[first.pk]])
    assert [(link.signal_id, link.number) for link in found] == [(first.pk, 1)]


FIRST_RESULT = f"(SELECT min(number) FROM {LINKS} WHERE kind = 'RESULT')"
SEALED_AT_50 = (
    f'UPDATE {LINKS} SET terms = terms || \'{{"percent": "50"}}\' WHERE number = {FIRST_RESULT}'
)
SHOWN_AT_50 = f"UPDATE {TRADES} SET percent = 50 WHERE r = -1"
# As the owner of the database; the first ones with the triggers, the others without them.
EDITS = {
    "the result": ([SHOWN_AT_50], "percent 50 (sealed -0.4544628249)"),
    "the R": ([f"UPDATE {TRADES} SET r = 3 WHERE r = -1"], "r 3 (sealed -1)"),
    "the entry": ([f"UPDATE {TRADES} SET entry_price = 1 WHERE r = -1"], "entry_price 1 (sealed"),
    "the exit": ([f"UPDATE {TRADES} SET exit_price = 2 WHERE r = -1"], "exit_price 2 (sealed"),
    "the end": ([f"UPDATE {TRADES} SET ended_at = now() WHERE r = -1"], "ended_at "),
    "the basis": ([f"UPDATE {TRADES} SET basis = 'FILLS' WHERE r = -1"], "basis FILLS (sealed"),
    "a mark": ([f"UPDATE {TRADES} SET marks = '{{PRICE_MOVED}}' WHERE r = -1"], "marks"),
    "the state": (
        [f"UPDATE {TRADES} SET state = 'NOT_ENTERED' WHERE r = -1"],
        "state NOT_ENTERED (sealed CLOSED)",
    ),
    "what subscribers got": (
        [f"UPDATE {TRADES} SET subscribers = 9, real_median = 5 WHERE r = -1"], "real_median 5"
    ),
    "a trade removed": ([f"DELETE FROM {TRADES} WHERE r = -1"], "was removed from the record."),
    "two results exchanged": (
        [f"UPDATE {TRADES} t SET percent = o.percent, r = o.r FROM {TRADES} o"
         " WHERE t.is_final AND o.is_final AND t.signal_id <> o.signal_id"],
        "r 1 (sealed -1)",
    ),
    "to be computed again": (
        [f"UPDATE {TRADES} SET is_final = false WHERE r = -1"], "is not final in the record"
    ),
    "the sum": (
        [f"UPDATE {RECORD} SET figures = jsonb_set(figures, '{{percent}}', '\"50\"')"],
        "not those of its trades: percent.",
    ),
    "a month": (
        [f"UPDATE {RECORD} SET figures = jsonb_set(figures, '{{months}}', '[]')"],
        "not those of its trades: months.",
    ),
    "what others see": (
        [f"UPDATE {RECORD} SET delayed = jsonb_set(delayed, '{{percent}}', '\"50\"')"],
        "The delayed figures of the record are not those of its trades: percent.",
    ),
}  # fmt: skip
WITHOUT_TRIGGERS = {
    "the seal": ([SEALED_AT_50], "its hash does not match its content"),
    "the seal and the result": ([SEALED_AT_50, SHOWN_AT_50], "its hash does not match"),
    "the seal removed": (
        [f"DELETE FROM {LINKS} WHERE number = {FIRST_RESULT}"], "is final and has no link"
    ),
    "two seals exchanged": (
        [f"UPDATE {LINKS} SET number = 100 WHERE number = 4",
         f"UPDATE {LINKS} SET number = 4 WHERE number = 5",
         f"UPDATE {LINKS} SET number = 5 WHERE number = 100"],
        "its hash does not match its content",
    ),
    "the last seal cut off": (
        [f"DELETE FROM {LINKS} WHERE number = 5",
         f"UPDATE {HEADS} SET links = 4, hash = (SELECT hash FROM {LINKS} WHERE number = 4)"],
        "names link 5, which does not exist",
    ),
    "hashed again": ([SEALED_AT_50, SHOWN_AT_50, RECHAIN], "has another hash of link 5"),
    "a result that is not final": (
        [f"UPDATE {TRADES} SET is_final = true WHERE state = 'OPEN'"], "is final and has no link"
    ),
    "a trade of another feed": (
        [f"UPDATE {TRADES} SET feed_id = (SELECT id FROM signals_feed WHERE slug = 'other')"
         " WHERE r = -1"],
        "was moved to another feed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", EDITS)
def test_edited_result_is_found_and_named(record: Feed, what: str) -> None:
    statements, sentence = EDITS[what]
    for statement in statements:
        run(statement)
    found = verify_feed(record.pk)
    assert sentence in " ".join(found.wrong)
    assert len(results(record)) == 2  # an edit seals nothing


@pytest.mark.parametrize("what", WITHOUT_TRIGGERS)
def test_result_tampered_with_without_triggers_is_found(record: Feed, what: str) -> None:
    Feed.objects.create(slug="other", name="Other", owner=record.owner)
    assert anchor(record.pk) is not None
    statements, sentence = WITHOUT_TRIGGERS[what]
    with as_owner_without_triggers():
        for statement in statements:
            rows(statement)
    assert sentence in " ".join(verify_feed(record.pk).wrong)


def test_switched_off_trigger_is_found(record: Feed) -> None:
    run(f"ALTER TABLE {TRADES} DISABLE TRIGGER record_result")
    try:
        assert verify_feed(record.pk).wrong == [
            f"The trigger record_result of {TRADES} is missing or switched off."
        ]
    finally:
        run(f"ALTER TABLE {TRADES} ENABLE TRIGGER record_result")


@pytest.mark.parametrize(
    "statement",
    [f"DELETE FROM {TRADES} WHERE r = -1", f"UPDATE {TRADES} SET is_final = false, percent = 50"],
)
def test_next_run_does_not_hide_an_edit(record: Feed, statement: str) -> None:
    """The job computes no sealed result again, so the difference stays visible."""
    run(statement)
    compute(record, days=40)
    assert [link.terms.get("correction") for link in results(record)][:2] == [None, None]
    assert any("The result of S-" in sentence for sentence in verify_feed(record.pk).wrong)


def test_correction_is_sealed_beside_the_first_result(record: Feed) -> None:
    first, _ = results(record)
    with transaction.atomic():
        rows(f"SELECT {LATER}")
        run(f"UPDATE {TRADES} SET percent = -0.25 WHERE r = -1")
    compute(record, days=4)
    *_, corrected = results(record)
    assert corrected.terms["correction"] == "The price of 9:01 was wrong."
    assert (corrected.terms["percent"], corrected.number) == ("-0.25", 6)
    assert results(record)[0] == first
    assert verify_feed(record.pk).wrong == []
    with transaction.atomic():
        trades = trades_of(record, before=None, limit=9, with_new=True)
    seals = [(trade.sealed_in, trade.correction) for trade in trades]
    assert seals == [(None, ""), (5, ""), (6, "The price of 9:01 was wrong.")]
    run(SHOWN_AT_50)
    assert "in link 6 is another than the record shows" in verify_feed(record.pk).wrong[0]

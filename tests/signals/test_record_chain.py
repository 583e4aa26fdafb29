"""The record of a feed: sealed at each commit, and found broken whatever is done to it."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import ProgrammingError, connection, connections, transaction

from common.db.sql import rows, run
from common.hash_chain import EMPTY, next_hash
from signals import services
from signals.models import Feed, Signal
from signals.records.check import anchor, verify_feed
from signals.records.sql import ANCHORS, CONTENT, HEADS, LINKS, TERMS
from tests.kept_rows import kept_rows
from tests.sampling import often
from tests.signals.test_services import approved_feed, make

pytestmark = pytest.mark.usefixtures("inline_commits")
D = Decimal


def verified(feed: Feed, *arguments: str) -> tuple[list[str], dict[str, Any], int]:
    """The sentences, the last line as JSON, and the exit code."""
    out, code = io.StringIO(), 0
    try:
        call_command("verify_feed", feed.slug, *arguments, stdout=out)
    except SystemExit as ended:
        code = int(str(ended.code))
    *sentences, last = out.getvalue().splitlines()
    return sentences, json.loads(last), code


def publish(feed: Feed, **fields: Any) -> Signal:
    signal = make(feed, **fields)
    services.publish(signal.pk, by=None)
    return signal


def _feed() -> Feed:
    """A feed of six links: two trades, one moved and closed, one cancelled; four are anchored."""
    feed = approved_feed()
    opened = publish(feed, sl=D("1.08"), open_price=D("1.085"))
    waiting = publish(feed, order_type="LIMIT", open_price=D("1.07"), sl=D("1.06"))
    publish(feed, action="MODIFY", refers_to=opened, sl=D("1.085"))
    publish(feed, action="CLOSE", refers_to=opened, close_fraction=D("0.5"))
    assert anchor(feed.pk) is not None
    services.cancel(waiting.pk, by=None)
    publish(feed, action="CLOSE", refers_to=opened)
    return feed


feed = kept_rows(_feed)


@contextmanager
def as_owner_without_triggers() -> Iterator[None]:
    with transaction.atomic():
        run("SET LOCAL session_replication_role = replica")
        yield


def links(feed: Feed) -> list[Any]:
    return rows(
        f"SELECT number, kind, signal_id, terms, hash, sealed_later, {CONTENT} AS content"
        f" FROM {LINKS} link WHERE feed_id = %s ORDER BY number",
        (feed.pk,),
    )


@pytest.mark.django_db(transaction=True)
def test_each_publication_and_cancellation_is_a_link(feed: Feed) -> None:
    found = links(feed)
    kinds = ["OPEN", "OPEN", "MODIFY", "CLOSE", "CANCEL", "CLOSE"]
    assert [(link.number, link.kind) for link in found] == list(enumerate(kinds, 1))
    previous = ""
    for link in found:
        previous = next_hash(previous, link.content)
        assert link.hash == previous
    opened = Signal.objects.get(pk=found[0].signal_id)
    assert opened.published_at is not None
    assert found[0].terms["sl"] == "1.08"
    assert datetime.fromisoformat(found[0].terms["published_at"]) == opened.published_at
    assert "max_spread" not in found[0].terms  # it is not set
    assert found[3].terms["close_fraction"] == "0.5"
    sentences, last, code = verified(feed)
    assert sentences == ["6 links, 1 anchors: the record is intact."]
    assert (last["ok"], last["links"], last["head"], code) == (True, 6, f"6:{previous}", 0)


RECHAIN = f"""
DO $$ DECLARE link {LINKS}; was text := ''; n bigint := 0; BEGIN
  FOR link IN SELECT * FROM {LINKS} ORDER BY number NULLS LAST, id LOOP
    n := n + 1; link.number := n;
    was := encode(sha256(convert_to(was || {CONTENT}, 'UTF8')), 'hex');
    UPDATE {LINKS} SET number = n, hash = was WHERE id = link.id;
  END LOOP;
  UPDATE {HEADS} SET links = n, hash = was;
END $$"""
FORGED = (
    f"INSERT INTO {LINKS} (feed_id, signal_id, kind, terms, salt, sealed_later, sealed_at, number,"
    " hash) SELECT feed_id, signal_id, kind, terms, salt, false, sealed_at, {number},"
    f" repeat('0', 64) FROM {LINKS} WHERE number = 3"
)
HEAD_TO_3 = f"UPDATE {HEADS} SET links = 3, hash = (SELECT hash FROM {LINKS} WHERE number = 3)"
PRICE = f'UPDATE {LINKS} SET terms = terms || \'{{"open_price": "1.0845"}}\' WHERE number = 1'
FIRST = f"(SELECT signal_id FROM {LINKS} WHERE number = 1)"
OTHER = "(SELECT id FROM signals_feed WHERE slug = 'other')"
TAMPERING = {
    "a price of the link": [PRICE],
    "a price of the signal": [f"UPDATE signals_signal SET open_price = 1.0845 WHERE id = {FIRST}"],
    "a price of both": [
        PRICE, f"UPDATE signals_signal SET open_price = 1.0845 WHERE id = {FIRST}"
    ],
    "the direction": [
        f"UPDATE {LINKS} SET terms = terms || '{{\"direction\": \"SELL\"}}' WHERE number = 6"
    ],
    "the time": [f"UPDATE {LINKS} SET sealed_at = sealed_at - interval '1 us' WHERE number = 3"],
    "the publication of the signal": [
        f"UPDATE signals_signal SET published_at = published_at - interval '1 h' WHERE id = {FIRST}"
    ],
    "the market": [f"UPDATE {LINKS} SET terms = terms || '{{\"market_ask\": \"1\"}}'"],
    "a mark": [f"UPDATE {LINKS} SET terms = terms || '{{\"marks\": []}}' WHERE number = 2"],
    "a link in the middle removed": [f"DELETE FROM {LINKS} WHERE number = 3"],
    "the last links removed": [f"DELETE FROM {LINKS} WHERE number > 5"],
    "the first link removed": [f"DELETE FROM {LINKS} WHERE number = 1"],
    "truncated, head put back": [f"DELETE FROM {LINKS} WHERE number > 3", HEAD_TO_3],
    "a link inserted": [
        f"UPDATE {LINKS} SET number = number + 100 WHERE number > 3",
        FORGED.format(number="4"),
        f"UPDATE {LINKS} SET number = number - 99 WHERE number > 100",
        f"UPDATE {HEADS} SET links = 7",
    ],
    "a link at the end": [FORGED.format(number="7")],
    "a link without a number": [FORGED.format(number="NULL")],
    "two links swapped": [
        f"UPDATE {LINKS} SET number = 100 WHERE number = 3",
        f"UPDATE {LINKS} SET number = 3 WHERE number = 4",
        f"UPDATE {LINKS} SET number = 4 WHERE number = 100",
    ],
    "two contents swapped": [
        f"UPDATE {LINKS} l SET terms = o.terms, kind = o.kind, signal_id = o.signal_id FROM"
        f" {LINKS} o WHERE (l.number, o.number) IN ((3, 4), (4, 3))"
    ],
    "hashed again from a point on": [PRICE, RECHAIN],
    "hashed again, anchor put right": [
        PRICE, RECHAIN,
        f"UPDATE {ANCHORS} SET hash = (SELECT hash FROM {LINKS} l WHERE l.number = 4)",
    ],
    "the stored hash": [f"UPDATE {LINKS} SET hash = repeat('0', 64) WHERE number = 2"],
    "the last hash and the head": [
        f"UPDATE {LINKS} SET hash = repeat('0', 64) WHERE number = 6",
        f"UPDATE {HEADS} SET hash = repeat('0', 64)",
    ],
    "a link moved to another feed": [f"UPDATE {LINKS} SET feed_id = {OTHER} WHERE number = 6"],
    "the signal moved to another feed": [
        f"UPDATE signals_signal SET feed_id = {OTHER} WHERE id = {FIRST}"
    ],
    "the signal removed": [
        f"DELETE FROM signals_signal WHERE id = (SELECT signal_id FROM {LINKS} WHERE number = 6)"
    ],
    "the cancellation undone": ["UPDATE signals_signal SET cancelled_at = NULL"],
    "cancelled without a link": [
        f"UPDATE signals_signal SET cancelled_at = published_at WHERE id = {FIRST}"
    ],
    "published without a link": [
        "INSERT INTO signals_signal (feed_id, currency_pair, direction, action, order_type,"
        " target_prices, target_fractions, close_fraction, time_in_force, strategy_id,"
        " trade_plan_id, risk_category, content_hash, origin, note, approval, published_at)"
        f" SELECT feed_id, currency_pair, direction, action, order_type, target_prices,"
        " target_fractions, close_fraction, time_in_force, strategy_id, trade_plan_id,"
        " risk_category, content_hash, origin, note, approval, published_at - interval '1 day'"
        f" FROM signals_signal WHERE id = {FIRST}"
    ],
    "the head removed": [f"DELETE FROM {HEADS}"],
    "everything removed": [
        f"DELETE FROM {LINKS}", f"UPDATE {HEADS} SET links = 0, hash = ''"
    ],
    "a trigger switched off": ["ALTER TABLE signals_signal DISABLE TRIGGER record_published"],
    "the seal switched off": [f"ALTER TABLE {LINKS} DISABLE TRIGGER record_seal"],
}  # fmt: skip
NAMED = {
    "a price of the signal": "was changed since: open_price.",
    "a link in the middle removed": "Link 3 is missing.",
    "the last links removed": "Link 6 is missing. They were the last ones.",
    "truncated, head put back": "names link 4, which does not exist.",
    "hashed again from a point on": "has another hash of link 4: it was rewritten.",
    "the signal moved to another feed": "was moved to another feed.",
    "published without a link": "has no link",
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", often(TAMPERING, every=3))
def test_tampering_by_the_owner_of_the_database_is_found(feed: Feed, what: str) -> None:
    Feed.objects.create(slug="other", name="Other", owner=feed.owner)
    try:
        with as_owner_without_triggers():
            for statement in TAMPERING[what]:
                rows(statement)
        sentences, last, code = verified(feed)
    finally:
        run("ALTER TABLE signals_signal ENABLE TRIGGER record_published")
        run(f"ALTER TABLE {LINKS} ENABLE TRIGGER record_seal")
    assert (last["ok"], code) == (False, 1)
    assert last["wrong"] == len(sentences) > 0
    assert NAMED.get(what, "") in " ".join(sentences)


@pytest.mark.django_db(transaction=True)
def test_back_dated_publication_is_found_although_it_is_sealed(feed: Feed) -> None:
    late = make(feed)
    earlier = "clock_timestamp() - interval '1 day'"
    rows(f"UPDATE signals_signal SET published_at = {earlier} WHERE id = {late.pk}")
    sentences, _, code = verified(feed)
    assert code == 1
    assert len(sentences) == 1
    assert sentences[0].startswith(f"Link 7 (S-{late.pk}) is back-dated: ")


@pytest.mark.django_db(transaction=True)
def test_kept_head_reveals_a_rewritten_record(feed: Feed) -> None:
    kept = verified(feed)[1]["head"]
    with as_owner_without_triggers():
        rows(f"DELETE FROM {ANCHORS}")
        rows(PRICE)
        rows(f"UPDATE signals_signal SET open_price = 1.0845 WHERE id = {FIRST}")
        rows(RECHAIN)
    assert verified(feed)[2] == 0  # who has the key could also sign: only a kept head shows it
    sentences, _, code = verified(feed, "--expect", kept)
    assert (sentences, code) == (
        ["The head that you gave has another hash of link 6: it was rewritten."], 1
    )  # fmt: skip


@pytest.mark.parametrize("role", ["fillcast_web", "fillcast_trade"])
@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE {LINKS} SET kind = 'CLOSE'",
        f"DELETE FROM {LINKS}",
        f"DELETE FROM {HEADS}",
        f"DELETE FROM {ANCHORS}",
        FORGED.format(number="7"),
    ],
)
def test_the_applications_roles_cannot_write_a_record(
    feed: Feed, role: str, statement: str
) -> None:
    with transaction.atomic():
        run(f"SET LOCAL ROLE {role}")
        with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
            rows(statement)


def test_even_the_owner_writes_no_record_by_accident(feed: Feed) -> None:
    with pytest.raises(ProgrammingError, match="written by triggers only"):
        rows(f"DELETE FROM {LINKS}")


@pytest.mark.django_db(transaction=True)
def test_concurrent_publications_are_one_chain() -> None:
    feed = approved_feed()
    signals = [make(feed) for _ in range(12)]
    barrier, errors = threading.Barrier(4), list[Exception]()

    def publisher(part: list[Signal]) -> None:
        try:
            for signal in part:
                barrier.wait(60)  # the publications of each round begin together
                services.publish(signal.pk, by=None)
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=publisher, args=(signals[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors
    found = links(feed)
    assert [link.number for link in found] == list(range(1, 13))
    assert {link.signal_id for link in found} == {signal.pk for signal in signals}
    assert verify_feed(feed.pk).is_proven


@pytest.mark.django_db(transaction=True)
def test_a_publication_waits_for_the_commit_of_an_earlier_seal() -> None:
    """The one that holds the head first has the earlier link, whichever began first."""
    feed = approved_feed()
    first, later = make(feed), make(feed)
    sealed, done = threading.Event(), threading.Event()

    def publisher() -> None:
        try:
            sealed.wait(60)
            services.publish(later.pk, by=None)
            done.set()
        finally:
            connections.close_all()

    thread = threading.Thread(target=publisher)
    thread.start()
    with transaction.atomic():
        services.publish(first.pk, by=None)
        rows("SET CONSTRAINTS record_seal IMMEDIATE")
        sealed.set()
        while not _one_waits():
            assert thread.is_alive()
        assert not done.is_set()
    thread.join(60)
    assert [link.signal_id for link in links(feed)] == [first.pk, later.pk]
    assert verify_feed(feed.pk).is_proven


def _one_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_rolled_back_publication_leaves_no_link_and_no_gap() -> None:
    feed = approved_feed()
    first, second = make(feed), make(feed)
    with transaction.atomic():
        services.publish(first.pk, by=None)
        transaction.set_rollback(True)
    services.publish(second.pk, by=None)
    assert [(link.number, link.signal_id) for link in links(feed)] == [(1, second.pk)]


def test_anchor_refuses_a_changed_link(feed: Feed) -> None:
    before = anchor(feed.pk)
    assert before is not None
    assert before.number == 6
    publish(feed)
    with as_owner_without_triggers():
        rows(f'UPDATE {LINKS} SET terms = terms || \'{{"sl": "1"}}\' WHERE number = 7')
    assert anchor(feed.pk) is None


@pytest.mark.django_db(transaction=True)
def test_empty_record_is_intact() -> None:
    feed = approved_feed()
    assert anchor(feed.pk) == EMPTY
    assert verified(feed)[0] == ["0 links, 0 anchors: the record is intact."]


def test_every_column_of_a_signal_is_in_the_record_or_known_not_to_be() -> None:
    columns = {field.attname for field in Signal._meta.concrete_fields}
    assert columns == set(TERMS) | UNRECORDED
    assert not set(TERMS) & UNRECORDED


UNRECORDED = {
    "id", "feed_id",  # the link has them
    "cancelled_at",  # has a link of its own
    "external_id", "content_hash", "note", "provider_quantity", "provider_equity",
    "provider_currency", "market_source",  # the provider's own, and nothing is traded by them
    "is_reversal",  # why a trade was closed; nothing is traded by it
    "approval", "approved_at", "approved_by_id", "created_by_id", "published_by_id",
    "cancelled_by_id", "candidate_count", "reaches_admins", "owner_only",
}  # fmt: skip

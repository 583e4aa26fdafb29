"""Ask providers about the entries that wait, and store their answers.

Rules are applied at once, on the caller's thread. Web services and packages are asked on threads of
their own, one for each provider, so that one that hangs delays no other: entries that come
meanwhile are its next bundle. A call that does not end in time is left behind on its thread, at
most `MAX_CALLS` of a provider. Stored answers make the orders due; a process that dies before that
loses nothing, because the entries are due again after some seconds and are asked about again.
"""

import threading
from collections.abc import Callable, Sequence
from decimal import Decimal

import orjson
import structlog
from django.db import close_old_connections, connections, transaction

from common.clocks import machine_time
from common.db.sql import IdRow, Query, columns, rows
from common.failpoints import failpoint
from common.reason_codes import Code
from connections.models import DecisionProvider, ProviderKind
from execution.decision_step import http_provider, packages, rules
from execution.decision_step.questions import Asked, load_asked, load_waiting
from execution.decision_step.types import Answers, Failure, NoAnswerError

log = structlog.get_logger(__name__)
Resume = Callable[[Sequence[int]], object]
MAX_BUNDLE = 500  # entries in one request
MAX_CALLS = 4  # of one provider, with those that were left behind
GRACE_SECONDS = 0.2  # for what a call does besides waiting

STORE = Query(
    IdRow,
    f"""
WITH answered AS (
  SELECT * FROM unnest(%s::bigint[], %s::uuid[], %s::bigint[], %s::text[], %s::numeric[],
    %s::text[], %s::text[], %s::text[], %s::int[], %s::timestamptz[], %s::int[], %s::text[])
  AS t(order_id, connection_id, provider_id, provider_name, factor, reason, failure, detail,
    latency_ms, asked_at, attempt, market)
), kept AS (
  INSERT INTO execution_entrydecision AS d (order_id, connection_id, provider_id, provider_name,
    factor, reason, failure, detail, latency_ms, asked_at, attempt, market, answered_at)
  SELECT order_id, connection_id, provider_id, provider_name, factor, reason, failure, detail,
    latency_ms, asked_at, attempt, market::jsonb, clock_timestamp() FROM answered
  -- what an order was sent or denied with stays, whatever another process is answered later
  WHERE EXISTS (SELECT FROM execution_order o WHERE o.id = order_id AND o.status = 'PENDING'
    AND o.reason = '{Code.DECISION_AWAITED.value}')
  ORDER BY order_id
  ON CONFLICT (order_id) DO UPDATE SET provider_id = excluded.provider_id,
    provider_name = excluded.provider_name, factor = excluded.factor, reason = excluded.reason,
    failure = excluded.failure, detail = excluded.detail, latency_ms = excluded.latency_ms,
    asked_at = excluded.asked_at, attempt = excluded.attempt, market = excluded.market,
    answered_at = excluded.answered_at,
    asked_count = CASE WHEN d.attempt = excluded.attempt THEN d.asked_count + 1 ELSE 1 END
  WHERE d.asked_at < excluded.asked_at  -- a later answer to an earlier question does not count
  RETURNING order_id
)
UPDATE execution_order SET due_at = clock_timestamp() WHERE id = ANY(ARRAY(
  SELECT o.id FROM execution_order o JOIN kept k ON k.order_id = o.id
  WHERE o.status = 'PENDING' AND o.reason = '{Code.DECISION_AWAITED.value}'
  ORDER BY o.id FOR NO KEY UPDATE OF o SKIP LOCKED))
RETURNING id
""",
)


def ask(order_ids: Sequence[int], resume: Resume) -> list[int]:
    """Have the entries that wait decided; return those that are decided already.

    resume: is called with the others on another thread, once they are decided. Not inside a
    transaction.
    """
    decided: list[int] = []
    kinds: dict[int, str] = {}
    waiting = load_waiting(order_ids)
    if waiting:
        found = DecisionProvider.objects.filter(pk__in=waiting).values_list("pk", "kind")
        kinds = dict(found)
    for provider_id, ids in waiting.items():
        if kinds.get(provider_id) == ProviderKind.RULES:
            decided += ask_provider(provider_id, ids)
        else:
            _queue.add(provider_id, ids, resume)
    return decided


def ask_provider(provider_id: int, order_ids: Sequence[int]) -> list[int]:
    """Ask one provider about the entries that still wait for it, and store what it answers.

    Returns the orders that became due. Takes at most the provider's time-out and some queries.
    """
    asked = load_asked(provider_id, order_ids)
    if asked is None:
        return []
    started = machine_time()
    answers = _answers(asked)
    latency = round((machine_time() - started) * 1000)
    failpoint("decision.answered")
    due = store(asked, answers, latency)
    failpoint("decision.stored")
    return due


def _answers(asked: Asked) -> Answers:
    """Return the provider's answers; a failure of the whole call is one of each entry."""
    provider, questions = asked.provider, asked.questions
    allowed = [q for q in questions if q.order_id not in asked.not_allowed]
    if not allowed:
        return {}
    if provider.kind == ProviderKind.RULES:
        return {q.order_id: rules.decide(provider, q, asked.calendar) for q in allowed}
    if provider.ended_with_key:
        ended = NoAnswerError(Failure.KEY_ENDED, "The API key that named who is asked has ended.")
        return {q.order_id: ended for q in allowed}

    def call() -> Answers:
        if provider.kind == ProviderKind.HTTP:
            seconds = float(provider.timeout_seconds)
            return http_provider.ask(provider, allowed, asked.asked_at, seconds)
        return packages.ask(provider.entry_point, allowed)

    try:
        return _call_within(provider.pk, float(provider.timeout_seconds), call)
    except NoAnswerError as error:
        log.warning(
            "no decision", provider=provider.pk, failure=str(error.failure), detail=error.detail
        )
        return {q.order_id: error for q in allowed}


def store(asked: Asked, answers: Answers, latency_ms: int) -> list[int]:
    """Store the answers, and make their orders due; return the due ones."""
    records = []
    for question in asked.questions:
        answer = answers.get(question.order_id)
        if question.order_id in asked.not_allowed:
            answer = NoAnswerError(Failure.NOT_ALLOWED, "The preset may not use this provider.")
        elif answer is None:
            answer = NoAnswerError(Failure.MISSING, "The answer does not have this order.")
        factor: Decimal | None = None
        reason = failure = detail = ""
        if isinstance(answer, NoAnswerError):
            failure, detail = answer.failure.value, answer.detail[:300]
        else:
            factor, reason = answer.factor, answer.reason
        records.append(
            (
                question.order_id, question.connection_id, asked.provider.pk, asked.provider.name,
                factor, reason, failure, detail, latency_ms, asked.asked_at,
                asked.attempts[question.order_id], orjson.dumps(question.market.as_json()).decode(),
            )
        )  # fmt: skip
    with transaction.atomic():
        return sorted(row.id for row in rows(STORE, columns(records, 12)))


# ---- threads -----------------------------------------------------------------------------------
_calls: dict[int, threading.Semaphore] = {}
_calls_lock = threading.Lock()


def _call_within(provider_id: int, seconds: float, call: Callable[[], Answers]) -> Answers:
    """Run a call on a thread of its own; raise NoAnswerError TIMEOUT if it takes longer."""
    with _calls_lock:
        slots = _calls.setdefault(provider_id, threading.Semaphore(MAX_CALLS))
    if not slots.acquire(blocking=False):
        raise NoAnswerError(Failure.TIMEOUT, "Earlier calls have not ended.")
    results: list[Answers | NoAnswerError] = []
    ended = threading.Event()

    def run() -> None:
        try:
            results.append(call())
        except NoAnswerError as error:
            results.append(error)
        except Exception as error:  # any: the entries must get an answer
            log.exception("decision provider", provider=provider_id)
            results.append(NoAnswerError(Failure.ERROR, type(error).__name__))
        finally:
            connections.close_all()  # a package may have used the database
            slots.release()
            ended.set()

    started = machine_time()
    threading.Thread(target=run, daemon=True, name=f"decision-call-{provider_id}").start()
    if not ended.wait(seconds + GRACE_SECONDS) or not results:
        raise NoAnswerError(Failure.TIMEOUT, f"No answer within {seconds:g} s.")
    if isinstance(result := results[0], NoAnswerError):
        was_cut = machine_time() - started >= seconds  # the guard closed the connection
        if was_cut and result.failure is Failure.UNREACHABLE:
            raise NoAnswerError(Failure.TIMEOUT, f"No answer within {seconds:g} s.")
        raise result
    return result


class ProviderQueue:
    """The entries that wait for each provider. One thread asks a provider, bundle after bundle."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, dict[int, Resume]] = {}
        self._asking: dict[int, set[int]] = {}

    def add(self, provider_id: int, order_ids: Sequence[int], resume: Resume) -> None:
        """Queue entries, except those that the provider is being asked about already."""
        with self._lock:
            asking = self._asking.get(provider_id, set())
            waiting = self._waiting.setdefault(provider_id, {})
            waiting.update((i, resume) for i in order_ids if i not in asking)
            if provider_id in self._asking or not waiting:
                return
            self._asking[provider_id] = set()
        name = f"decision-{provider_id}"
        threading.Thread(target=self._run, args=(provider_id,), daemon=True, name=name).start()

    def _take(self, provider_id: int) -> dict[int, Resume]:
        """Return the next bundle; if there is none, the thread ends."""
        with self._lock:
            waiting = self._waiting.get(provider_id, {})
            bundle = {order_id: waiting.pop(order_id) for order_id in sorted(waiting)[:MAX_BUNDLE]}
            if bundle:
                self._asking[provider_id] = set(bundle)
            else:
                self._asking.pop(provider_id, None)
                self._waiting.pop(provider_id, None)
            return bundle

    def _run(self, provider_id: int) -> None:
        while bundle := self._take(provider_id):
            try:
                close_old_connections()
                due = ask_provider(provider_id, list(bundle))
                with self._lock:
                    self._asking[provider_id] = set()  # they may be asked about again
                resumed = {resume: [i for i in due if bundle[i] is resume] for resume in
                           {*bundle.values()}}  # fmt: skip
                for resume, ids in resumed.items():
                    if ids:
                        resume(ids)
            except Exception:  # any: the entries are due again after some seconds
                log.exception("entries not decided", provider=provider_id, entries=len(bundle))
            finally:
                connections.close_all()


_queue = ProviderQueue()

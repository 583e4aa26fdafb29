"""Injecting faults. Each kind is a method; a lasting fault is undone when its time is over."""

import signal
import time
from collections.abc import Callable
from typing import Any

import psycopg
import redis

from brokers.base import ReadFailed
from ops.embedded.errors import EmbeddedError
from tests.fakes.paper_server.sync_client import SyncClient
from tests.faults.chaos.fault_plan import WORKERS, Step
from tests.faults.chaos.outages import FOREVER, Outage
from tests.faults.chaos.stack_environment import BROKER, LEASE_SECONDS, StackEnvironment

Undo = Callable[[], None]
SHARE = 5  # every fifth account is silent or slow


class FaultInjector:
    """`make` injects a fault, `undo_due` undoes those whose time is over, `heal` all of them."""

    def __init__(self, environment: StackEnvironment) -> None:
        self._environment = environment
        self.spans: list[Outage] = []
        self._undo: list[tuple[float, Undo]] = []
        self._stopped: dict[str, int] = {}
        self._broker = SyncClient("127.0.0.1", environment.broker_port)

    def make(self, step: Step) -> bool:
        """Inject a fault. Return False if it has no effect, since its process is down already."""
        method = getattr(self, "_" + step.kind.replace("-", "_"))
        span = Outage(step.kind, time.time(), over=self._is_over(step))
        try:
            done: bool = method(step)
        except (ReadFailed, psycopg.Error, redis.RedisError):  # broken already
            return False
        if done:
            self.spans.append(span)
        return done

    def _is_over(self, step: Step) -> Callable[[], bool]:
        """Return a function that checks whether the fault has ended, for whatever reason."""
        if step.kind == "broker-kill":
            broker = self._environment.children[BROKER]
            dead = broker.pid
            return lambda: broker.pid != dead and broker.ready
        if step.kind.startswith("postgres"):
            return lambda: self._environment.servers.postgres.alive
        end = time.time() + step.lasts
        return lambda: time.time() >= end

    def undo_due(self, *, everything: bool = False) -> None:
        """Undo the faults whose time is over."""
        self._note_ends()
        now = time.monotonic()
        due = [undo for at, undo in self._undo if everything or at <= now]
        self._undo = [] if everything else [entry for entry in self._undo if entry[0] > now]
        for undo in due:
            undo()

    def heal(self) -> None:
        """Undo all faults; retry what cannot be undone yet."""
        while self._undo:
            self.undo_due(everything=True)
            time.sleep(0.2)

    def _note_ends(self) -> None:
        for span in self.spans:
            if span.until == FOREVER and span.over():
                span.until = time.time()

    def _later(self, seconds: float, undo: Undo) -> bool:
        def undo_or_retry() -> None:
            try:
                undo()
            except (psycopg.Error, EmbeddedError):
                self._later(0.5, undo)

        self._undo.append((time.monotonic() + seconds, undo_or_retry))
        return True

    # ---- processes ------------------------------------------------------------------------
    def _signal(self, name: str, number: signal.Signals) -> int | None:
        running = self._environment.children[name]
        process = running.process
        if process is None or not running.alive or self._stopped.get(name) == process.pid:
            return None
        process.send_signal(number)
        return process.pid

    def _kill(self, step: Step) -> bool:
        who = [step.who, *WORKERS] if step.burst else [step.who]  # one of them is alive
        return any(self._signal(name, signal.SIGKILL) is not None for name in who)

    def _term(self, step: Step) -> bool:
        return self._signal(step.who, signal.SIGTERM) is not None

    def _stop(self, step: Step) -> bool:
        return self._stop_for(step.who, LEASE_SECONDS + step.lasts)

    _long_stop = _stop

    def _stop_for(self, name: str, seconds: float) -> bool:
        pid = self._signal(name, signal.SIGSTOP)
        if pid is None:
            return False
        self._stopped[name] = pid

        def go_on() -> None:
            process = self._environment.children[name].process
            if process is not None and process.pid == pid:
                process.send_signal(signal.SIGCONT)
            if self._stopped.get(name) == pid:
                del self._stopped[name]

        return self._later(seconds, go_on)

    # ---- Redis and PostgreSQL -------------------------------------------------------------
    def _redis_kill(self, step: Step) -> bool:
        server = self._environment.servers.redis
        if not server.alive:
            return False
        self._environment.servers.signal_redis(signal.SIGCONT)
        self._environment.servers.kill_redis()
        return self._later(step.lasts, lambda: void(server.start()))

    def _redis_flush(self, _: Step) -> bool:
        if not self._environment.servers.redis.alive:
            return False
        client = redis.Redis.from_url(self._environment.servers.redis.url, socket_timeout=1)
        try:
            client.flushall()
        finally:
            client.close()
        return True

    def _redis_pause(self, step: Step) -> bool:
        servers = self._environment.servers
        if not servers.redis.alive:
            return False
        process = servers.redis.process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        return self._later(step.lasts, lambda: process.send_signal(signal.SIGCONT))

    def _postgres_restart(self, step: Step) -> bool:
        return self._end_postgres(signal.SIGINT, step.lasts)

    def _postgres_crash(self, step: Step) -> bool:
        return self._end_postgres(signal.SIGQUIT, step.lasts)

    def _end_postgres(self, number: signal.Signals, seconds: float) -> bool:
        servers = self._environment.servers
        if not servers.postgres.alive:
            return False
        servers.end_postgres(number)
        return self._later(seconds, lambda: void(servers.postgres.start()))

    # ---- the broker -----------------------------------------------------------------------
    def _broker_kill(self, _: Step) -> bool:
        return self._signal(BROKER, signal.SIGKILL) is not None

    def _broker_stop(self, step: Step) -> bool:
        return self._stop_for(BROKER, step.lasts)

    def _cause_at_broker(self, fault: str, *numbers: float) -> bool:
        if BROKER in self._stopped:
            return False
        self._broker.fault(fault, *numbers)
        return True

    def _broker_reset(self, _: Step) -> bool:
        return self._cause_at_broker("reset")

    def _broker_refuse(self, step: Step) -> bool:
        return self._cause_at_broker("refuse", step.lasts)

    def _broker_half(self, _: Step) -> bool:
        return self._cause_at_broker("half_answers", 3)

    def _broker_replay(self, _: Step) -> bool:
        return self._cause_at_broker("replay", 500)

    def _silent_before(self, step: Step) -> bool:
        return self._terms(step, "silent_before", "true", "false")

    def _silent_after(self, step: Step) -> bool:
        return self._terms(step, "silent_after", "true", "false")

    def _slow(self, step: Step) -> bool:
        return self._terms(step, "reply_delay_ms", "2500", "0")

    def _late(self, step: Step) -> bool:
        return self._terms(step, "latency_ms", "10000", "0")

    def _terms(self, step: Step, name: str, on: Any, off: Any) -> bool:
        def write(value: Any, share: int) -> None:
            # A stopped broker keeps its row locks, and only this process continues it.
            self._environment.servers.books.rows(
                "SET lock_timeout = '1s';"
                f" UPDATE paper_account SET {name} = {value} WHERE id % {share} = 0"
            )

        write(on, SHARE)
        return self._later(step.lasts, lambda: write(off, 1))

    # ---- the network between --------------------------------------------------------------
    def _partition(self, step: Step) -> bool:
        self._environment.network.partition()
        return self._later(step.lasts, self._environment.network.heal)

    def _mute(self, step: Step) -> bool:
        self._environment.network.lose_replies()
        return self._later(step.lasts, self._environment.network.heal)

    def _delay(self, step: Step) -> bool:
        self._environment.network.delay(1.0 + step.lasts / 4)
        return self._later(step.lasts, self._environment.network.heal)


def void(_: object) -> None:
    """Discard a result."""

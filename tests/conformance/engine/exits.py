"""C168–C176: stops and targets of open positions, and the rules that move stops."""

from decimal import ROUND_FLOOR, Decimal
from typing import Any, ClassVar

from brokers.types import ExitSafety
from conformance.harness import InjectedFault, NotApplicable
from conformance.registry import CheckFailed, expect
from execution.models import Order
from positions.models import ExecutionPosition, StopRule
from signals.models import Signal
from tests.conformance.engine.account import EngineAccount
from tests.conformance.engine.case import Case, Step, expect_status, outcome_text

FAR = "-25"


class OpenPosition(Case):
    """A position from a market order. at_broker: its broker holds the stop. other: the number of
    the check for the other way. closes: the step at which it is closed, by `leg`."""

    begins = Step.TURN
    at_broker: ClassVar[bool]
    other: ClassVar[str] = ""
    closes: ClassVar[Step]
    leg: ClassVar[str] = "sl"
    signal: Signal

    def applies(self, account: EngineAccount) -> None:
        holds = account.can.native_stops
        if holds and account.is_netted and account.can.exit_safety is ExitSafety.TICKET:
            holds, why = False, "a stop of its only position would close the other signals' parts"
        else:
            why = "the account keeps no stops"
        if not holds and self.at_broker:
            raise NotApplicable(f"emulated: {why}; see {self.other}")
        if holds and not self.at_broker:
            raise NotApplicable(f"native: the account keeps the stops itself; see {self.other}")

    def terms(self, account: EngineAccount) -> dict[str, Any]:
        """Return the levels and rules of the signal. A target that is not reached is usual: a spot
        exchange holds a stop only together with one."""
        raise NotImplementedError

    def begin(self, account: EngineAccount) -> None:
        far = [(str(account.price(30)), "1")]
        self.signal = account.publish(**{"targets": far, **self.terms(account)})

    def has_begun(self, account: EngineAccount) -> None:
        expect_status(account, self.signal, "FILLED")
        expect_protected(account, self.signal, at_broker=self.at_broker)

    def at(self, account: EngineAccount, step: Step) -> None:
        if step < self.closes:
            position = account.position(self.signal)
            expect(
                position.quantity == position.opened_quantity,
                f"closed: {outcome_text(self.signal)}",
            )
        elif step == self.closes:
            expect_closed_once(account, self.signal, self.leg)

    def finish(self, account: EngineAccount) -> None:
        expect_closed_once(account, self.signal, self.leg)


def expect_protected(account: EngineAccount, signal: Signal, *, at_broker: bool) -> None:
    """Wait until who is to keep the position's stop keeps it. Raises CheckFailed."""

    def keeps() -> bool:
        position = account.position(signal)
        if not at_broker:
            return position.stop_guardian == "ENGINE"
        return position.broker_sl == position.sl and _holds(account, position)

    who = "broker" if at_broker else "engine"
    try:
        account.until(keeps, f"the {who} does not keep its stop")
    except CheckFailed as error:
        kept = account.position(signal)
        details = f"{kept.sl}, {kept.stop_guardian}, confirmed {kept.broker_sl}"
        raise CheckFailed(f"{error}: {details}, at the broker {account.stops()}") from error


def _holds(account: EngineAccount, position: ExecutionPosition) -> bool:
    return position.sl is not None and any(
        abs(one - position.sl) < account.tick for one in account.stops()
    )


def expect_closed_once(account: EngineAccount, signal: Signal, leg: str) -> None:
    """Wait until a position is closed. Raises CheckFailed unless one exit closed all of it."""
    account.until(
        lambda: account.position(signal).quantity == 0, f"it is not closed: {outcome_text(signal)}"
    )
    exits = Order.objects.filter(signal=signal, position__isnull=False, filled_quantity__gt=0)
    exits = exits.exclude(leg__startswith="entry")
    done = [(one.leg.partition("-")[0], one.filled_quantity) for one in exits]
    wanted = account.position(signal).opened_quantity
    expect(done == [(leg, wanted)], f"it was closed by {done} instead of one {leg}")


class StopAtBroker(OpenPosition):
    """The dip reaches its stop."""

    number, other, at_broker = "C168", "C169", True
    begins, closes = Step.BEGIN, Step.DIP

    def terms(self, account: EngineAccount) -> dict[str, Any]:
        return {"sl": account.price("-7.5")}


class StopAtEngine(StopAtBroker):
    number, other, at_broker = "C169", "C168", False


class TargetAtBroker(OpenPosition):
    """The top reaches its target."""

    number, other, at_broker = "C170", "C171", True
    closes, leg = Step.TOP, "tp"

    def terms(self, account: EngineAccount) -> dict[str, Any]:
        return {"sl": account.price(FAR), "targets": [(str(account.price("6.5")), "1")]}


class TargetAtEngine(TargetAtBroker):
    number, other, at_broker = "C171", "C170", False


class MovedStop(OpenPosition):
    """A position whose stop a rule moves. It notes every stop, ours and the broker's."""

    closes = Step.END

    def __init__(self) -> None:
        self.stops: list[Decimal] = []

    def stop_at(self, account: EngineAccount, step: Step) -> Decimal | None:
        """Return the stop that the rule gives at a step; None: it stays as it is."""
        raise NotImplementedError

    def has_begun(self, account: EngineAccount) -> None:
        expect_status(account, self.signal, "FILLED")
        self.at(account, Step.TURN)

    def at(self, account: EngineAccount, step: Step) -> None:
        if step >= self.closes:
            expect_closed_once(account, self.signal, "sl")
            return
        stop = self.stop_at(account, step)
        if stop is not None:
            near = account.tick
            account.until(
                lambda: abs((account.position(self.signal).sl or 0) - stop) <= near,
                f"its stop is not at {stop} but at {account.position(self.signal).sl}",
            )
        expect_protected(account, self.signal, at_broker=self.at_broker)
        now = account.position(self.signal).sl
        assert now is not None
        expect(stop is not None or now == self.stops[-1], f"its stop moved to {now}")
        self.stops.append(now)

    def finish(self, account: EngineAccount) -> None:
        super().finish(account)
        expect(self.stops == sorted(self.stops), f"its stop went back: {self.stops}")
        rule = StopRule.objects.get(position=account.position(self.signal))
        moves = len({*self.stops, account.price(FAR)}) - 1
        expect(rule.moves == moves, f"{rule.moves} moves for {moves} stops")


class BreakEvenAtBroker(MovedStop):
    """At a profit of 7 its stop moves to the entry price, once; the end of the path reaches it."""

    number, other, at_broker = "C172", "C173", True

    def terms(self, account: EngineAccount) -> dict[str, Any]:
        rule = {"break_even_profit": account.distance(7), "stop_rule_unit": "PRICE"}
        return {"sl": account.price(FAR), **rule}

    def stop_at(self, account: EngineAccount, step: Step) -> Decimal | None:
        if step == Step.TURN:
            return account.price(FAR)
        return Decimal(account.position(self.signal).entry_price) if step == Step.TOP else None


class BreakEvenAtEngine(BreakEvenAtBroker):
    number, other, at_broker = "C173", "C172", False


class TrailingAtBroker(MovedStop):
    """Its stop stays 5 behind the best bid; when the price ebbs it stays where it is."""

    number, other, at_broker = "C174", "C175", True
    behind: ClassVar[str] = "5"

    def terms(self, account: EngineAccount) -> dict[str, Any]:
        rule = {"trailing_distance": account.distance(self.behind), "stop_rule_unit": "PRICE"}
        return {"sl": account.price(FAR), **rule, "trailing_step": account.distance(1)}

    def stop_at(self, account: EngineAccount, step: Step) -> Decimal | None:
        best = {Step.TURN: -1, Step.RISE: 4, Step.TOP: 10}.get(step)
        return None if best is None else account.price(best) - account.distance(self.behind)


class TrailingAtEngine(TrailingAtBroker):
    number, other, at_broker = "C175", "C174", False


class TrailingWithinStopsLevel(TrailingAtBroker):
    """Its distance is a fifth of what the broker requires between a stop and the price, so that the
    stop stays at that."""

    number, other = "C176", "C175"
    closes, behind = Step.EBB, "0.2"

    def applies(self, account: EngineAccount) -> None:
        if why := account.harness.unavailable.get(InjectedFault.STOPS_NEAR):
            raise NotApplicable(why)
        super().applies(account)
        if not account.instrument.stops_level:
            raise NotApplicable("the broker does not state the distance that it requires")

    def stop_at(self, account: EngineAccount, step: Step) -> Decimal | None:
        best = {Step.TURN: -1, Step.RISE: 4, Step.TOP: 10}.get(step)
        if best is None:
            return None
        nearest: Decimal = account.price(best) - account.instrument.stops_level
        return (nearest / account.tick).to_integral_value(ROUND_FLOOR) * account.tick


EXITS: tuple[type[Case], ...] = (
    StopAtBroker, StopAtEngine, TargetAtBroker, TargetAtEngine, BreakEvenAtBroker,
    BreakEvenAtEngine, TrailingAtBroker, TrailingAtEngine, TrailingWithinStopsLevel,
)  # fmt: skip

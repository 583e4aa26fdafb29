"""C177–C179: entries in slices, and that nothing else has arrived."""

from collections import Counter
from datetime import timedelta
from typing import ClassVar

from brokers.types import OrderType, Side
from common.clocks import market_now
from conformance.registry import expect
from execution.models import Order, SlicePlan
from positions.models import ExecutionPosition
from prices.models import PriceBar
from signals.models import Signal
from tests.conformance.engine.account import EngineAccount
from tests.conformance.engine.case import Case, Step, outcome_text

DURATION = 40  # so that a busy machine, too, sends the second slice before the end


class Twap(Case):
    """Two slices: the second arrives half of the duration after the first."""

    number = "C177"
    style: ClassVar[str] = "TWAP"
    signal: Signal

    def begin(self, account: EngineAccount) -> None:
        self.signal = account.publish(
            execution_style=self.style, duration_seconds=DURATION, slice_count=2
        )

    def has_begun(self, account: EngineAccount) -> None:
        account.until(lambda: self._slices()[0].status == "FILLED", f"{outcome_text(self.signal)}")
        self.plan = SlicePlan.objects.get(order__signal=self.signal)

    def at(self, account: EngineAccount, step: Step) -> None:
        expect(len(account.arrivals(self.signal)) <= 2, "more slices arrived than it has")

    def finish(self, account: EngineAccount) -> None:
        account.until(
            lambda: len(account.arrivals(self.signal)) >= 2,
            f"one is missing: {outcome_text(self.signal)}",
        )
        arrived = account.arrivals(self.signal)
        expect(len(arrived) == 2, "more slices arrived than it has")
        for one in arrived:
            right = one.order_type is OrderType.MARKET and one.side is Side.BUY
            expect(right, f"a slice arrived as {one}")
        quantities = [one.quantity for one in arrived]
        expect(sum(quantities) == account.quantity, f"{quantities} arrived in all")
        expect(quantities == self.plan.quantities, f"{quantities}, not {self.plan.quantities}")
        account.until(lambda: {one.status for one in self._slices()} == {"FILLED"}, "not filled")
        first, second = (one.submitted_at for one in self._slices())
        assert first is not None
        assert second is not None
        expect(second - first >= timedelta(seconds=DURATION / 2 - 1), f"sent {first}, {second}")

    def _slices(self) -> list[Order]:
        slices = Order.objects.filter(signal=self.signal, leg__startswith="entry")
        return list(slices.order_by("id"))


class Vwap(Twap):
    """Its sizes follow the volume of the same time on earlier days: three quarters come first."""

    number, style = "C178", "VWAP"

    def begin(self, account: EngineAccount) -> None:
        now = market_now().replace(second=0, microsecond=0)
        price, source = account.first, account.row.data_connection_id or 0
        sides = {f"{side}_{name}": price for side in ("bid", "ask")
                 for name in ("open", "high", "low", "close")}  # fmt: skip
        PriceBar.objects.bulk_create(
            PriceBar(
                data_connection_id=source, spread_sum=0, quote_count=100,
                symbol=account.instrument.pair, minute=now + timedelta(days=-ago, minutes=minute),
                first_at=now, last_at=now, **sides,
            )
            for ago in (1, 2, 3)
            for minute in range(4)
        )  # fmt: skip
        super().begin(account)

    def has_begun(self, account: EngineAccount) -> None:
        super().has_begun(account)
        expect(self.plan.profile_days == 3, f"{self.plan.profile_days} days of volume counted")


class NothingElse(Case):
    """Judged at the end, with everything that the other checks have placed."""

    number = "C179"

    def begin(self, account: EngineAccount) -> None:
        pass

    def at(self, account: EngineAccount, step: Step) -> None:
        arrived = account.journal()
        twice = [key for key, n in Counter(one.client_order_id for one in arrived).items() if n > 1]
        expect(not twice, f"accepted more than once: {twice}")
        ids = Order.objects.values_list("client_order_id", flat=True)
        ours = {one[:-1] for one in ids if one}
        strangers = [one for one in arrived if one.client_order_id[:-1] not in ours]
        expect(not strangers, f"without a row of ours: {strangers}")

    def finish(self, account: EngineAccount) -> None:
        self.at(account, Step.END)

        def agrees() -> bool:
            open_now = ExecutionPosition.objects.filter(connection=account.row, quantity__gt=0)
            return bool(account.held() == sum(one.quantity for one in open_now))

        account.until(agrees, f"the broker holds {account.held()}, and we another quantity")


SLICES: tuple[type[Case], ...] = (Twap, Vwap, NothingElse)

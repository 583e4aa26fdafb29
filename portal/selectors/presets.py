"""A tenant's presets, where each is used, and those that operators share."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db.models import Prefetch, QuerySet

from common.web.formatting import number
from connections.models import ExecutionConnection, LossLimit, SizingMode, TradingPreset
from portal.selectors.accounts import presets_for
from users.models import User


@dataclass(frozen=True, slots=True)
class PresetUseLine:
    """A preset and the tenant's accounts that use it."""

    preset: TradingPreset
    accounts: Sequence[ExecutionConnection] = field(default_factory=list)
    loss_limits: Sequence[LossLimit] = ()

    @property
    def is_shared(self) -> bool:
        """Whether it belongs to the operators."""
        return self.preset.user_id is None

    @property
    def summary(self) -> str:
        """Its rule and the number that belongs to it."""
        return sizing_summary(self.preset)


def own_presets(user: User) -> QuerySet[TradingPreset]:
    """Return the presets that a tenant may change."""
    return TradingPreset.objects.filter(user=user)


def own_preset_with_limits(user: User, pk: int) -> tuple[TradingPreset | None, list[LossLimit]]:
    """Return a preset that a tenant may change, and its loss limits in the order of their making.

    One statement; None: there is no such preset.
    """
    return _with_limits(own_presets(user).filter(pk=pk))


def preset_with_limits(user: User, pk: int) -> tuple[TradingPreset | None, list[LossLimit]]:
    """Return the same of a preset that a tenant may use."""
    return _with_limits(presets_for(user).filter(pk=pk))


def _with_limits(
    presets: QuerySet[TradingPreset],
) -> tuple[TradingPreset | None, list[LossLimit]]:
    of_preset, of_limit = (
        [field.attname for field in model._meta.concrete_fields]
        for model in (TradingPreset, LossLimit)
    )
    joined = presets.order_by("loss_limits__pk").values_list(
        *of_preset, *(f"loss_limits__{name}" for name in of_limit)
    )
    preset, limits = None, []
    for row in joined:
        own, its = row[: len(of_preset)], row[len(of_preset) :]
        preset = preset or TradingPreset.from_db(None, of_preset, own)
        if its[of_limit.index(LossLimit._meta.pk.attname)] is not None:
            limits.append(LossLimit.from_db(None, of_limit, its))
    return preset, limits


def preset_lines(user: User) -> list[PresetUseLine]:
    """Return the presets that a tenant may use, their own ones first, in three statements."""
    mine = ExecutionConnection.objects.live().of(user.pk).order_by("name")
    used = Prefetch("executionconnection_set", mine.defer("sealed_credentials"), to_attr="used_by")
    limits = Prefetch("loss_limits", LossLimit.objects.order_by("pk"), to_attr="its_loss_limits")
    found = presets_for(user).prefetch_related(used, limits)
    lines = [
        PresetUseLine(preset, vars(preset)["used_by"], vars(preset)["its_loss_limits"])
        for preset in found
    ]
    return sorted(lines, key=lambda line: (line.is_shared, line.preset.name.casefold()))


def sizing_summary(preset: TradingPreset) -> str:
    """Return how a preset sizes, such as `1 % of equity at risk`."""
    shown = _numbers(preset)
    text = {
        SizingMode.FIXED: "{fixed_quantity} units",
        SizingMode.PER_BALANCE: "{fixed_quantity} units for each {per_balance} of balance",
        SizingMode.PERCENT_BALANCE: "{percent_of_balance} % of balance as notional",
        SizingMode.PERCENT_EQUITY: "{percent_of_equity} % of equity as notional",
        SizingMode.FIXED_AMOUNT: "{fixed_amount} as notional",
        SizingMode.RISK_PERCENT: "{risk_percent} % of equity at risk",
        SizingMode.RISK_AMOUNT: "{risk_amount} at risk",
        SizingMode.RISK_CATEGORY: "{small_risk_percent}, {normal_risk_percent} or "
        "{large_risk_percent} % of equity at risk, by the signal",
    }.get(SizingMode(preset.sizing_mode), str(SizingMode(preset.sizing_mode).label))
    times = "" if preset.multiplier == 1 else f", times {shown['multiplier']}"
    return text.format(**shown) + times


def _numbers(preset: TradingPreset) -> dict[str, str]:
    names = (
        "fixed_quantity", "per_balance", "percent_of_balance", "percent_of_equity",
        "fixed_amount", "risk_percent", "risk_amount", "small_risk_percent",
        "normal_risk_percent", "large_risk_percent", "multiplier",
    )  # fmt: skip
    return {name: number(getattr(preset, name)) for name in names}

"""REST API of the records of feeds. One that its provider shows to all needs no sign-in."""

from dataclasses import asdict
from decimal import Decimal
from typing import Any

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.models import FeedTrade
from analytics.records.selectors import age_of, record_of, trade_rows, trades_of
from analytics.streams import FORMAT, STREAMED, is_streamed, stream, streamed
from common.web.api_fields import Amount, StrictModelSerializer, StrictSerializer
from common.web.api_views import ApiView
from common.web.streaming import StreamedResponse
from signals.models import Feed, RecordLink
from signals.records.selectors import (
    links,
    record_feed,
    record_terms,
    sees_new,
    statement,
)
from users.models import User


class RecordLineSerializer(StrictSerializer):
    """The closed trades of one month, pair or hour (UTC)."""

    name = serializers.CharField()
    trades = serializers.IntegerField()
    wins = serializers.IntegerField()
    percent = Amount()
    r = Amount()


class RecordSerializer(StrictSerializer):
    """The figures of a feed's record. Percent: sums of percents of the entry price; docs/records.md
    defines each."""

    feed = serializers.CharField()
    until = serializers.DateTimeField(
        allow_null=True,
        help_text="Later prices and signals are not counted: a day ago, unless you take the feed."
        " null: not computed.",
    )
    age_days = serializers.IntegerField(help_text="Since the feed was made.")
    terms = serializers.CharField(help_text="Of now; empty: the provider has stated none.")
    terms_changed_at = serializers.DateTimeField(allow_null=True, help_text="null: never stated.")
    followers = serializers.IntegerField(allow_null=True, help_text="null: fewer than 5.")
    closed = serializers.IntegerField()
    wins = serializers.IntegerField()
    losses = serializers.IntegerField()
    win_rate = Amount(allow_null=True)
    profit_factor = Amount(allow_null=True)
    expectancy_r = Amount(allow_null=True)
    percent = Amount()
    r = Amount()
    drawdown_percent = Amount(help_text="A positive number.")
    drawdown_r = Amount(help_text="A positive number.")
    open = serializers.IntegerField()
    open_percent = Amount(
        help_text="At the newest price; in no sum. 0 for those who do not take the feed."
    )
    not_entered = serializers.IntegerField()
    unknown = serializers.IntegerField(help_text="Signals without a known price, in no sum.")
    marked = serializers.IntegerField(help_text="Trades with a signal that came too late.")
    unmarked_percent = Amount(help_text="The result without those.")
    real_trades = serializers.IntegerField(help_text="Trades that 5 persons or more have closed.")
    real_low = Amount(help_text="Of these: the sum of the 25th percentiles of their results.")
    real_median = Amount()
    real_high = Amount()
    real_compared = Amount(help_text="The record's result of the same trades.")
    slippage = Amount(allow_null=True, help_text="Basis points, + is worse; the median.")
    slippage_low = Amount(allow_null=True, help_text="Half of the trades lie between this")
    slippage_high = Amount(allow_null=True, help_text="and this.")
    months = RecordLineSerializer(many=True)
    pairs = RecordLineSerializer(many=True)
    hours = RecordLineSerializer(many=True)


class RecordTradeSerializer(StrictModelSerializer[FeedTrade]):
    """A trade of a feed's record."""

    signal = serializers.IntegerField(source="signal_id", read_only=True)
    sealed_in = serializers.IntegerField(
        read_only=True, allow_null=True,
        help_text="The number of the link that seals this result. null: it is not final yet.",
    )  # fmt: skip
    correction = serializers.CharField(
        read_only=True, help_text="Why another result was sealed before; empty: none was."
    )

    class Meta:
        model = FeedTrade
        fields = (
            "signal", "pair", "direction", "published_at", "ended_at", "state", "basis",
            "entry_price", "exit_price", "percent", "r", "marks", "subscribers", "real_low",
            "real_median", "real_high", "slippage", "sealed_in", "correction",
        )  # fmt: skip
        read_only_fields = fields


class RecordTradesSerializer(StrictSerializer):
    """A page of trades, the newest first."""

    trades = RecordTradeSerializer(many=True)
    next_before = serializers.IntegerField(allow_null=True, help_text="null: this is the last.")


class RecordLinkSerializer(StrictSerializer):
    """A link: its hash is the SHA-256 of the previous link's hash and `content`, as hex."""

    number = serializers.IntegerField()
    hash = serializers.CharField()
    sealed_at = serializers.DateTimeField()
    sealed_later = serializers.BooleanField(
        help_text="Published, or final, before such links were sealed."
    )
    kind = serializers.ChoiceField(choices=RecordLink.Kind.choices, allow_null=True)
    signal = serializers.IntegerField(allow_null=True)
    marks = serializers.ListField(child=serializers.CharField())
    content = serializers.CharField(
        allow_null=True, help_text="The exact text that was hashed. null: withheld for 24 hours."
    )


class RecordLinksSerializer(StrictSerializer):
    """A page of links, the oldest first."""

    links = RecordLinkSerializer(many=True)
    next_after = serializers.IntegerField(allow_null=True, help_text="null: this is the last.")


class AnchorSerializer(StrictSerializer):
    """A head that was signed at one time."""

    at = serializers.DateTimeField()
    head = serializers.CharField()
    signature = serializers.CharField()


class RecordHeadSerializer(StrictSerializer):
    """The head of a record: with a kept head, a rewrite of what is before it is found."""

    feed = serializers.CharField()
    feed_id = serializers.IntegerField()
    at = serializers.DateTimeField()
    head = serializers.CharField(source="head.text", help_text="NUMBER:HASH.")
    sealed_at = serializers.DateTimeField(allow_null=True)
    signature = serializers.CharField()
    anchors = AnchorSerializer(many=True)
    verified_at = serializers.DateTimeField(allow_null=True)
    verified_links = serializers.IntegerField()
    findings = serializers.ListField(child=serializers.CharField())


class PageSerializer(serializers.Serializer[Any]):
    """Where a page begins, and how long it is."""

    after = serializers.IntegerField(default=0, min_value=0, max_value=2**62)
    before = serializers.IntegerField(default=None, min_value=1, max_value=2**62)
    limit = serializers.IntegerField(default=100, min_value=1, max_value=500)


class _RecordView(ApiView):
    """A view of the record of one feed."""

    open_to_visitors = True

    def viewer(self, request: Request) -> User | None:
        """Return the user; None: a visitor."""
        return request.user if isinstance(request.user, User) else None

    def feed(self, request: Request, slug: str) -> Feed:
        """Return the feed. Raises Http404, or NotAuthenticated for a visitor, if they may not see
        its record."""
        viewer = self.viewer(request)
        feed = record_feed(slug, viewer)
        if feed is None:
            raise NotAuthenticated if viewer is None else Http404
        return feed

    def page(self, request: Request) -> dict[str, Any]:
        """Return the parameters of a page. Raises ValidationError."""
        serializer = PageSerializer(data=request.query_params)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


_LIMIT = OpenApiParameter("limit", int, description="At most 500; default 100.")


class RecordView(_RecordView):
    """The figures of a feed's record."""

    @extend_schema(responses=RecordSerializer)
    def get(self, request: Request, slug: str) -> Response:
        """Result, drawdown, months, pairs and hours; what subscribers really got; its age.

        Who does not take the feed gets the figures of 24 hours ago.
        """
        feed = self.feed(request, slug)
        values = {"feed": feed.slug, "age_days": age_of(feed).days}
        if self.asks_for(*_COMPUTED):
            with_new = sees_new(feed, self.viewer(request))
            record = record_of(feed, with_new=with_new)
            figures = record.figures
            values |= asdict(figures) | {
                "open_percent": figures.open_percent if with_new else Decimal(0),
                "until": record.until, "followers": record.followers,
                "win_rate": figures.win_rate, "profit_factor": figures.profit_factor,
                "expectancy_r": figures.expectancy_r,
            }  # fmt: skip
        if self.asks_for("terms", "terms_changed_at"):
            terms = record_terms(feed)
            values |= {
                "terms": terms.text if terms else "",
                "terms_changed_at": terms.created_at if terms else None,
            }
        return Response(self.sparse(RecordSerializer(values)).data)


_COMPUTED = tuple(
    set(RecordSerializer().fields) - {"feed", "age_days", "terms", "terms_changed_at"}
)


class RecordTradesView(_RecordView):
    """The trades of a feed's record."""

    rows_in = "trades"
    renderer_classes = (JSONRenderer, *STREAMED)

    @extend_schema(
        parameters=[_LIMIT, OpenApiParameter("before", int, description="`next_before`."), FORMAT],
        responses=streamed(RecordTradesSerializer),
    )
    def get(self, request: Request, slug: str) -> Response | StreamedResponse:
        """List trades, the newest first. Who does not take the feed gets them as of 24 hours ago.

        Then a trade that ended since is OPEN, and none that is open has a result. As CSV or JSON
        lines all of them are streamed, without pages.
        """
        feed, page = self.feed(request, slug), self.page(request)
        with_new = sees_new(feed, self.viewer(request))
        if is_streamed(request):
            return stream(request, trade_rows(feed, with_new=with_new), name=f"record-{feed.slug}")
        trades = trades_of(feed, before=page["before"], limit=page["limit"], with_new=with_new)
        following = trades[-1].pk if len(trades) == page["limit"] else None
        return Response(RecordTradesSerializer({"trades": trades, "next_before": following}).data)


class RecordLinksView(_RecordView):
    """The links of a feed's record."""

    rows_in = "links"

    @extend_schema(
        parameters=[_LIMIT, OpenApiParameter("after", int, description="`next_after`.")],
        responses=RecordLinksSerializer,
    )
    def get(self, request: Request, slug: str) -> Response:
        """List the hash chain, the oldest link first. examples/verify_feed.py checks it."""
        feed, page = self.feed(request, slug), self.page(request)
        found = links(
            feed, after=page["after"], limit=page["limit"],
            with_new=sees_new(feed, self.viewer(request)),
        )  # fmt: skip
        following = found[-1].number if len(found) == page["limit"] else None
        return Response(RecordLinksSerializer({"links": found, "next_after": following}).data)


class RecordHeadView(_RecordView):
    """The head of a feed's record."""

    @extend_schema(responses=RecordHeadSerializer)
    def get(self, request: Request, slug: str) -> Response:
        """Return the head with the operator's signature, the newest anchors and the last check."""
        return Response(RecordHeadSerializer(statement(self.feed(request, slug))).data)

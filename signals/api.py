"""REST API of feeds and signals."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from django.db import transaction
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from common.db.newest_rows import NewestRows
from common.errors import InvalidInputError, NotAllowedError
from common.permissions import Right
from common.reason_codes import Code
from common.web.api_fields import validated_body
from common.web.api_views import ObjectView
from common.web.filters import MomentFilter
from common.web.idempotency import HEADER, idempotency_key
from signals import services
from signals.feeds import services as feeds
from signals.locks import candidates_exclusive, candidates_shared, feed_shared
from signals.models import (
    Action,
    Approval,
    ApprovalRequest,
    Direction,
    Feed,
    FeedToken,
    Origin,
    RequestOutcome,
    Signal,
)
from signals.provider_api import ProviderActions
from signals.publishing.closing import close_trades, open_trades
from signals.publishing.ingest import build_unsaved, require_feed, save_draft, with_feed_errors
from signals.publishing.oco import (
    build_unsaved_pair,
    preview_pair,
    read_pair,
    require_possible_pair,
    save_pair,
)
from signals.publishing.preview import preview, require_possible, require_useful, visible_to
from signals.reading.draft import SignalDraft
from signals.reading.intake import read_bracket, read_signal
from signals.selectors import (
    feeds_for,
    managed_signals,
    newest_signals,
    owned_feeds,
    signals_for,
)
from signals.serializers.drafts import (
    CloseTradesSerializer,
    NewOcoPairSerializer,
    NewSignalSerializer,
    selection_of,
)
from signals.serializers.feeds import (
    CreatedFeedTokenSerializer,
    FeedSerializer,
    FeedTokenSerializer,
    NewFeedTokenSerializer,
    RotateFeedTokenSerializer,
)
from signals.serializers.previews import OcoPreviewSerializer, PreviewSerializer
from signals.serializers.signals import (
    ClosedTradesSerializer,
    OcoPairSerializer,
    SignalSerializer,
    SignalTotalSerializer,
)
from signals.totals import visible_total
from users.api import caller
from users.models import User

READING = ("GET", "HEAD", "OPTIONS")
AS_EXTERNAL_ID = OpenApiParameter(
    HEADER,
    str,
    OpenApiParameter.HEADER,
    description="Used as external_id if the body has none.",
)
NEW_SIGNAL_PARAMETERS = [
    AS_EXTERNAL_ID,
    OpenApiParameter("publish", bool, description="Also publish it at once."),
]


def _created(feed: Feed, token: FeedToken, secret: str) -> Response:
    """Return the response that shows a new token's secrets, once."""
    created: dict[str, Any] = {
        "token": FeedTokenSerializer(token).data,
        "secret": secret,
        "signing_key": token.signing_key,
        "path": f"/hooks/tradingview/{feed.slug}/{secret}/",
    }
    return Response(created, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})


class FeedFilter(filters.FilterSet):  # type: ignore[misc]  # it has no types
    """`mine`, `is_public`, `is_approved`, `awaits_approval`."""

    awaits_approval = filters.BooleanFilter(
        method="only_awaiting", label="Feeds whose owner has asked for approval."
    )
    mine = filters.BooleanFilter(method="only_mine", label="Feeds that you own.")

    class Meta:
        model = Feed
        fields = ("is_public", "is_approved")

    def only_mine(self, queryset: QuerySet[Feed], _name: str, value: bool) -> QuerySet[Feed]:
        """Return your own feeds, or with `false` those of others."""
        user = self.request.user
        return queryset.filter(owner=user) if value else queryset.exclude(owner=user)

    def only_awaiting(self, queryset: QuerySet[Feed], _name: str, value: bool) -> QuerySet[Feed]:
        """Return the feeds with an open request for approval, or with `false` those without."""
        waiting = ApprovalRequest.objects.filter(outcome=RequestOutcome.OPEN).values("feed")
        return queryset.filter(pk__in=waiting) if value else queryset.exclude(pk__in=waiting)


class FeedViewSet(
    ObjectView,
    ProviderActions,
    mixins.CreateModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    viewsets.GenericViewSet[Feed],
):
    """Streams of signals: your own, the public ones and those that you subscribe to.

    A private feed (`is_public: false`) is for manual orders: its owner's approval is enough and
    covers only the owner's accounts (`approved_by_owner`). A public feed needs an operator's
    approval. If a feed goes public, its approval is withdrawn, and its unpublished signals are
    PENDING again.
    """

    queryset = Feed.objects.none()
    serializer_class = FeedSerializer
    shown_once = frozenset({"create_token", "rotate_token"})
    lookup_field = "slug"
    lookup_value_regex = "[-a-zA-Z0-9_]+"
    filterset_class = FeedFilter
    ordering_fields = ("name", "created_at")
    rights = {
        **dict.fromkeys(
            (
                "create", "partial_update", "archive", "create_token", "rotate_token",
                "revoke_token",
            ),
            Right.FEEDS,
        ),
        "close_trades": Right.PUBLISH,
        **ProviderActions.provider_rights,
    }  # fmt: skip
    owner_reads = ProviderActions.owner_reads | {"tokens"}
    http_method_names = ("get", "post", "patch", "head", "options")

    def get_queryset(self) -> QuerySet[Feed]:
        user = caller(self.request)
        is_read = self.request.method in READING and self.action not in self.owner_reads
        feeds = feeds_for(user) if is_read else owned_feeds(user)
        return feeds.distinct()

    def lock_for_change(self, row: Feed) -> None:
        """Lock the candidates of the feed, then the feed."""
        candidates_exclusive(row.pk)
        super().lock_for_change(row)

    def perform_create(self, serializer: serializers.BaseSerializer[Feed]) -> None:
        data = dict(serializer.validated_data)
        public = data.get("is_public", True)
        data.setdefault("is_approved", not public)
        serializer.instance = feeds.create_feed(owner=caller(self.request), **data)

    def perform_update(self, serializer: serializers.BaseSerializer[Feed]) -> None:
        row = self.get_object()
        by = caller(self.request)
        serializer.instance = feeds.update_feed(row.pk, by=by, **serializer.validated_data)

    @extend_schema(request=None, responses=FeedSerializer)
    @action(detail=True, methods=["post"])
    def archive(self, request: Request, slug: str) -> Response:
        """Archive the feed. It accepts and publishes no more signals; its history stays."""
        feed = self.get_object()
        feeds.archive_feed(feed.pk, by=caller(request))
        feed.refresh_from_db()
        return Response(self.get_serializer(feed).data)

    @extend_schema(
        request=CloseTradesSerializer,
        responses=ClosedTradesSerializer,
    )
    @action(detail=True, methods=["post"], url_path="close-trades")
    def close_trades(self, request: Request, slug: str) -> Response:
        """Close what the feed has open: all of it, or the trades in one symbol or on one side.

        It publishes a CLOSE signal for each trade, all or none. No signals: nothing was open.
        """
        feed = self.get_object()
        data = validated_body(CloseTradesSerializer, request)
        selection = selection_of(data)
        if data["dry_run"]:
            closed = open_trades(feed, selection)
        else:
            closed = close_trades(
                feed, selection, origin=Origin.API, external_id=data.get("external_id", ""),
                by=caller(request),
            )  # fmt: skip
        context = self.get_serializer_context()
        return Response(ClosedTradesSerializer(closed, context=context).data)

    @extend_schema(responses=FeedTokenSerializer(many=True), filters=False)
    @action(detail=True, methods=["get"], filterset_class=None, pagination_class=None)
    def tokens(self, request: Request, slug: str) -> Response:
        """List the feed's alert tokens, without their secrets."""
        tokens = self.get_object().tokens.order_by("-id")
        return Response(FeedTokenSerializer(tokens, many=True).data)

    @extend_schema(request=NewFeedTokenSerializer, responses={201: CreatedFeedTokenSerializer})
    @tokens.mapping.post
    def create_token(self, request: Request, slug: str) -> Response:
        """Create an alert token. The secrets in the response are never shown again."""
        feed = self.get_object()
        values = validated_body(NewFeedTokenSerializer, request)
        return _created(feed, *feeds.create_feed_token(feed, by=caller(request), **values))

    @extend_schema(
        request=RotateFeedTokenSerializer,
        responses={201: CreatedFeedTokenSerializer},
        parameters=[OpenApiParameter("token_id", int, OpenApiParameter.PATH)],
    )
    @action(detail=True, methods=["post"], url_path=r"tokens/(?P<token_id>[0-9]{1,18})/rotate")
    def rotate_token(self, request: Request, slug: str, token_id: str) -> Response:
        """Create a token that replaces this one, which works until `old_ends_at`, or ends now."""
        feed = self.get_object()
        old = feed.tokens.get(pk=int(token_id))
        values = validated_body(RotateFeedTokenSerializer, request)
        return _created(feed, *feeds.rotate_feed_token(old.pk, by=caller(request), **values))

    @extend_schema(
        request=None,
        responses=FeedTokenSerializer,
        parameters=[OpenApiParameter("token_id", int, OpenApiParameter.PATH)],
    )
    @action(detail=True, methods=["post"], url_path=r"tokens/(?P<token_id>[0-9]{1,18})/revoke")
    def revoke_token(self, request: Request, slug: str, token_id: str) -> Response:
        """Revoke an alert token: it stops working at once, for good."""
        token = self.get_object().tokens.get(pk=int(token_id))
        feeds.revoke_feed_token(token.pk)
        token.refresh_from_db()
        return Response(FeedTokenSerializer(token).data)


class SignalFilter(filters.FilterSet):  # type: ignore[misc]  # it has no types
    """Filters of the signal list."""

    feed = filters.CharFilter(field_name="feed__slug")
    symbol = filters.CharFilter(field_name="currency_pair")
    action = filters.ChoiceFilter(choices=Action.choices)
    direction = filters.ChoiceFilter(choices=Direction.choices)
    approval = filters.ChoiceFilter(choices=Approval.choices)
    external_id = filters.CharFilter()
    is_published = filters.BooleanFilter(
        field_name="published_at", lookup_expr="isnull", exclude=True
    )
    published_after = MomentFilter(field_name="published_at", lookup_expr="gte")
    published_before = MomentFilter(field_name="published_at", lookup_expr="lt")

    class Meta:
        model = Signal
        fields = ("refers_to",)


class SignalViewSet(
    ObjectView, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Signal]
):
    """Signals of your own feeds, and published signals of the feeds that you subscribe to."""

    queryset = Signal.objects.none()
    serializer_class = SignalSerializer
    moving = frozenset({"symbol_reach", "candidate_count"})
    own_keys = frozenset({"create", "bracket", "oco"})
    keyless: ClassVar[dict[str, str]] = dict.fromkeys(
        ("preview_draft", "preview_oco"), "It stores nothing."
    )
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = SignalFilter
    ordering_fields = ("id", "published_at")
    rights = {
        **dict.fromkeys(
            ("create", "bracket", "oco", "publish", "cancel", "preview_draft", "preview_oco"),
            Right.PUBLISH,
        ),
        **dict.fromkeys(("approve", "reject"), Right.APPROVE),
    }

    def get_queryset(self) -> QuerySet[Signal]:
        user = caller(self.request)
        if self.action in ("preview", "notional"):
            return managed_signals(user)
        return signals_for(user) if self.request.method in READING else managed_signals(user)

    def newest_rows(self, rows: QuerySet[Signal]) -> QuerySet[Signal] | NewestRows[Signal]:
        """Return a page's rows, found feed by feed."""
        return newest_signals(rows, caller(self.request))

    def lock_for_change(self, row: Signal) -> None:
        """Lock the feed as a publication does, then the signal."""
        candidates_shared(row.feed_id)
        feed_shared(row.feed_id)
        super().lock_for_change(row)

    @extend_schema(
        request=NewSignalSerializer,
        responses={201: SignalSerializer, 200: SignalSerializer},
        parameters=NEW_SIGNAL_PARAMETERS,
    )
    def create(self, request: Request) -> Response:
        """Send a signal to one of your feeds.

        201: it is new. 200: the same signal (by external id) exists already and is returned. 409:
        another signal has this external id. 400 with the code of the denial (`STOP_AT_ENTRY`, …):
        no account that takes the feed could trade it as it is.
        """
        return self._store(request, _read(read_signal, request))

    @extend_schema(
        request=NewSignalSerializer,
        responses={201: SignalSerializer, 200: SignalSerializer},
        parameters=NEW_SIGNAL_PARAMETERS,
    )
    @action(detail=False, methods=["post"])
    def bracket(self, request: Request) -> Response:
        """Send an entry that must have a stop loss and at least one target. In all else it is a
        signal like any other."""
        return self._store(request, _read(read_bracket, request))

    @extend_schema(
        request=NewOcoPairSerializer,
        responses={201: OcoPairSerializer, 200: OcoPairSerializer},
        parameters=NEW_SIGNAL_PARAMETERS,
    )
    @action(detail=False, methods=["post"])
    def oco(self, request: Request) -> Response:
        """Send an OCO pair: two entries of one symbol, of which each account sends at most one.

        Both are stored, or none; with `publish` they are published together. Fields of the legs in
        errors are named `legs.0.sl`. 200: the same pair (by external id) exists already.
        """
        user = caller(request)
        with with_feed_errors(lambda draft: _feed_to_publish_in(draft.feed, user)):
            drafts = read_pair(request.data, key=idempotency_key(request))
        with transaction.atomic():
            feed = _feed_of(drafts, user)
            if publishes := _wants_publication(request):
                candidates_shared(feed.pk)
            legs, created = save_pair(feed, drafts, origin=Origin.API, by=user)
            if created:
                require_possible_pair(legs)
            if publishes:
                services.publish(legs[0].pk, by=user)
        stored = Signal.objects.select_related("feed").filter(oco_group=legs[0].oco_group)
        pair = {"oco_group": legs[0].oco_group, "legs": stored.order_by("pk")}
        code = status.HTTP_201_CREATED if created else status.HTTP_200_OK
        context = self.get_serializer_context()
        return Response(OcoPairSerializer(pair, context=context).data, status=code)

    @extend_schema(request=NewOcoPairSerializer, responses=OcoPreviewSerializer)
    @action(detail=False, methods=["post"], url_path="oco/preview")
    def preview_oco(self, request: Request) -> Response:
        """Return what would happen with each leg of an OCO pair that is not sent yet; nothing of it
        is stored. The figures of a leg count if the market reaches that leg first."""
        user = caller(request)
        with with_feed_errors(lambda draft: _feed_to_publish_in(draft.feed, user)):
            drafts = read_pair(request.data)
        with transaction.atomic():
            feed = _feed_of(drafts, user)
            legs = build_unsaved_pair(feed, drafts)
        expected = zip(legs, preview_pair(legs), strict=True)
        shown = [visible_to(user, leg, one) for leg, one in expected]
        return Response(OcoPreviewSerializer({"legs": shown}).data)

    def _store(self, request: Request, draft: SignalDraft) -> Response:
        draft = _with_key(draft, request)
        user = caller(request)
        with transaction.atomic():
            feed = _feed_of([draft], user)
            if publishes := _wants_publication(request):
                candidates_shared(feed.pk)  # before the feed's lock, which `save_draft` takes
            signal, created = save_draft(feed, draft, origin=Origin.API, by=user)
            if created:
                require_possible(signal)
            if publishes:
                services.publish(signal.pk, by=user)
        return self._show(signal.pk, status.HTTP_201_CREATED if created else status.HTTP_200_OK)

    @extend_schema(request=None, responses=SignalSerializer)
    @action(detail=True, methods=["post"])
    def publish(self, request: Request, pk: str) -> Response:
        """Publish the signal to every account that takes its feed. Repeating it changes nothing."""
        signal = self.get_object()
        if not signal.is_published and signal.approval == Approval.APPROVED:
            require_useful(signal)
        services.publish(signal.pk, by=caller(request))
        return self._show(signal.pk)

    @extend_schema(responses=PreviewSerializer)
    @action(detail=True, methods=["get"])
    def preview(self, request: Request, pk: str) -> Response:
        """Return what would happen if the signal were published now: how many accounts would get an
        order, wait, be skipped or be denied, and why.

        It is the evaluation of real orders, with current prices, accounts and limits; nothing is
        written. 409 for a published signal. `sizes`, and reasons that concern accounts and not the
        signal, are only for operators and for feeds that their owner alone has approved.
        """
        signal = self.get_object()
        user = caller(request)
        return Response(PreviewSerializer(visible_to(user, signal, preview(signal))).data)

    @extend_schema(request=NewSignalSerializer, responses=PreviewSerializer)
    @action(detail=False, methods=["post"], url_path="preview")
    def preview_draft(self, request: Request) -> Response:
        """The same for a signal that is not sent yet; nothing of it is stored."""
        draft = _read(read_signal, request)
        user = caller(request)
        with transaction.atomic():
            feed = _feed_of([draft], user)
            signal = build_unsaved(feed, draft)
        return Response(PreviewSerializer(visible_to(user, signal, preview(signal))).data)

    @extend_schema(responses=SignalTotalSerializer)
    @action(detail=True, methods=["get"])
    def notional(self, request: Request, pk: str) -> Response:
        """Return what all accounts together have entered for a published signal now, and the feed's
        `max_signal_notional`. For the feed's owner and operators: the total, never its parts.

        409 if the feed has no such limit, or before the publication.
        """
        return Response(
            SignalTotalSerializer(visible_total(caller(request), self.get_object())).data
        )

    @extend_schema(request=None, responses=SignalSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel the signal: unfilled orders are cancelled; positions stay open (send a CLOSE). A
        published CLOSE or MODIFY cannot be cancelled (`STATE_CONFLICT`)."""
        signal = self.get_object()
        services.cancel(signal.pk, by=caller(request))
        return self._show(signal.pk)

    @extend_schema(request=None, responses=SignalSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Let a signal of an unapproved feed be published. For operators."""
        signal = self.get_object()
        services.approve(signal.pk, by=caller(request))
        return self._show(signal.pk)

    @extend_schema(request=None, responses=SignalSerializer)
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """Keep a signal from ever being published. For operators."""
        signal = self.get_object()
        services.reject(signal.pk, by=caller(request))
        return self._show(signal.pk)

    def _show(self, signal_id: int, code: int = status.HTTP_200_OK) -> Response:
        signal = Signal.objects.select_related("feed").get(pk=signal_id)
        return Response(self.get_serializer(signal).data, status=code)


def _read(read: Callable[[Any], SignalDraft], request: Request) -> SignalDraft:
    """Return the signal of a body. Raises InvalidSignalError with those of the feed, too."""
    user = caller(request)
    with with_feed_errors(lambda draft: _feed_to_publish_in(draft.feed, user)):
        return read(request.data)


def _wants_publication(request: Request) -> bool:
    value = request.query_params.get("publish", "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise InvalidInputError(Code.FIELD_INVALID, "publish is true or false.", field="publish")
    return value in ("true", "1")


def _with_key(draft: SignalDraft, request: Request) -> SignalDraft:
    """Use the Idempotency-Key as external id if the draft has none."""
    if draft.external_id or not (key := idempotency_key(request)):
        return draft
    return dataclasses.replace(draft, external_id=key)


def _feed_of(drafts: Sequence[SignalDraft], user: User) -> Feed:
    return require_feed(lambda draft: _feed_to_publish_in(draft.feed, user), drafts)


def _feed_to_publish_in(slug: str, user: User) -> Feed:
    if not slug:
        detail = "feed is required: the slug of one of your feeds."
        raise InvalidInputError(Code.FIELD_REQUIRED, detail, field="feed")
    feed = owned_feeds(user).filter(slug=slug).first()
    if feed is not None:
        return feed
    if feeds_for(user).filter(slug=slug).exists():
        raise NotAllowedError(Code.PERMISSION_DENIED, f"The feed {slug!r} is not yours.")
    raise InvalidInputError(Code.FEED_UNKNOWN, f"There is no feed {slug!r}.", field="feed")

"""REST API of what became of a provider's signals, and of a feed's followers: counts alone."""

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.orders.followers import results_of
from common.web.api_fields import StrictSerializer, UtcDateTime
from common.web.api_views import ApiView
from connections.selectors import followers_of
from signals.models import Feed, Signal
from signals.selectors import managed_signals, owned_feeds
from users.api import caller


class KindSerializer(StrictSerializer):
    """Accounts of a broker type."""

    broker_type = serializers.CharField(
        allow_blank=True, help_text="Empty: all types that fewer than 5 followers have."
    )
    accounts = serializers.IntegerField()


class FollowersSerializer(StrictSerializer):
    """A feed's followers in numbers: users with an account that takes it."""

    as_of = UtcDateTime(help_text="Market time.")
    followers = serializers.IntegerField()
    active = serializers.IntegerField()
    paused = serializers.IntegerField()
    new = serializers.IntegerField(help_text="Since the month began, UTC.")
    ended = serializers.IntegerField()
    ended_this_month = serializers.IntegerField()
    accounts = serializers.IntegerField()
    active_accounts = serializers.IntegerField()
    kinds = KindSerializer(many=True)


class ResultReasonSerializer(StrictSerializer):
    """Why accounts did not fill."""

    share = serializers.CharField()
    code = serializers.CharField(
        allow_blank=True, help_text="Empty: reasons of the accounts, which only their owners see."
    )
    sentence = serializers.CharField()
    accounts = serializers.IntegerField()


class ResultSerializer(StrictSerializer):
    """What became of a signal on all accounts: entries of an OPEN, exits of a CLOSE."""

    accounts = serializers.IntegerField()
    shares = serializers.DictField(child=serializers.IntegerField())
    reasons = ResultReasonSerializer(many=True)


class FeedFollowersViewSet(ApiView, viewsets.GenericViewSet[Feed]):
    """The followers of one's own feeds."""

    queryset = Feed.objects.none()
    lookup_field = "slug"
    lookup_value_regex = "[-a-zA-Z0-9_]+"

    @extend_schema(responses=FollowersSerializer, filters=False)
    @action(detail=True, methods=["get"])
    def followers(self, request: Request, slug: str) -> Response:
        """Return the feed's followers in numbers. For its owner and operators."""
        feed = get_object_or_404(owned_feeds(caller(request)), slug=slug)
        return Response(FollowersSerializer(followers_of(feed.pk)).data)


class SignalResultsViewSet(ApiView, viewsets.GenericViewSet[Signal]):
    """The results of one's own signals."""

    queryset = Signal.objects.none()
    lookup_value_regex = "[0-9]{1,18}"

    @extend_schema(responses=ResultSerializer, filters=False)
    @action(detail=True, methods=["get"])
    def results(self, request: Request, pk: str) -> Response:
        """Return what became of a signal on all accounts, in counts. For its feed's owner and
        operators."""
        signal = get_object_or_404(managed_signals(caller(request)), pk=int(pk))
        return Response(ResultSerializer(results_of([signal])[signal.pk]).data)

"""REST API of what providers keep beside their feeds: approval, terms and drafts."""

from typing import TYPE_CHECKING, ClassVar

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from common.permissions import Right
from common.web.api_fields import validated_body
from signals.feeds import approval_requests
from signals.feeds.terms import change_terms
from signals.models import Action, Feed, SavedDraft
from signals.publishing.drafts import (
    MAX_OPEN,
    discard_draft,
    open_drafts,
    publish_draft,
    store_draft,
)
from signals.serializers.providers import (
    ApprovalRequestSerializer,
    ChangedDraftSerializer,
    DraftSerializer,
    DraftVersionSerializer,
    GrantSerializer,
    NewDraftSerializer,
    NewRequestSerializer,
    NewTermsSerializer,
    RefusalSerializer,
    TermsSerializer,
)
from signals.serializers.signals import SignalSerializer
from users.api import caller

if TYPE_CHECKING:
    from rest_framework.viewsets import GenericViewSet

    Base = GenericViewSet[Feed]
else:
    Base = object
DRAFT_ID = [OpenApiParameter("draft_id", int, OpenApiParameter.PATH)]
_DRAFT = r"drafts/(?P<draft_id>[0-9]{1,18})"


class ProviderActions(Base):
    """The actions of a feed that its provider and the operators use."""

    provider_rights: ClassVar[dict[str, Right]] = {
        **dict.fromkeys(("request_approval", "withdraw_request", "change_terms"), Right.FEEDS),
        **dict.fromkeys(("approve", "refuse"), Right.APPROVE),
        **dict.fromkeys(
            ("create_draft", "change_draft", "publish_draft", "discard_draft"), Right.PUBLISH
        ),
    }
    owner_reads: ClassVar[frozenset[str]] = frozenset({"approval_requests", "drafts", "draft"})
    """What only the owner and operators read."""

    @extend_schema(
        request=NewRequestSerializer,
        responses={201: ApprovalRequestSerializer, 200: ApprovalRequestSerializer},
    )
    @action(detail=True, methods=["post"], url_path="request-approval")
    def request_approval(self, request: Request, slug: str) -> Response:
        """Ask the operators to approve a public feed. 200: the open request, unchanged."""
        feed = self.get_object()
        values = validated_body(NewRequestSerializer, request)
        row, is_new = approval_requests.request_approval(feed.pk, by=caller(request), **values)
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(ApprovalRequestSerializer(row).data, status=code)

    @extend_schema(request=None, responses=ApprovalRequestSerializer(many=True), filters=False)
    @action(detail=True, methods=["post"], url_path="withdraw-request", pagination_class=None)
    def withdraw_request(self, request: Request, slug: str) -> Response:
        """Withdraw the open request. Without one, nothing changes."""
        feed = self.get_object()
        approval_requests.withdraw_request(feed.pk, by=caller(request))
        return self._requests(feed)

    @extend_schema(responses=ApprovalRequestSerializer(many=True), filters=False)
    @action(
        detail=True, methods=["get"], url_path="approval-requests", filterset_class=None,
        pagination_class=None,
    )  # fmt: skip
    def approval_requests(self, request: Request, slug: str) -> Response:
        """List the last 100 requests for the feed's approval and their answers, newest first."""
        return self._requests(self.get_object())

    @extend_schema(
        request=GrantSerializer, responses=ApprovalRequestSerializer(many=True), filters=False
    )
    @action(detail=True, methods=["post"], pagination_class=None)
    def approve(self, request: Request, slug: str) -> Response:
        """Approve the feed, and answer its request. For operators."""
        feed = self.get_object()
        values = validated_body(GrantSerializer, request)
        approval_requests.grant_approval(feed.pk, by=caller(request), **values)
        return self._requests(feed)

    @extend_schema(
        request=RefusalSerializer, responses=ApprovalRequestSerializer(many=True), filters=False
    )
    @action(detail=True, methods=["post"], pagination_class=None)
    def refuse(self, request: Request, slug: str) -> Response:
        """Refuse the open request with a sentence. For operators."""
        feed = self.get_object()
        values = validated_body(RefusalSerializer, request)
        approval_requests.refuse_approval(feed.pk, by=caller(request), **values)
        return self._requests(feed)

    @extend_schema(responses=TermsSerializer(many=True), filters=False)
    @action(detail=True, methods=["get"], filterset_class=None, pagination_class=None)
    def terms(self, request: Request, slug: str) -> Response:
        """List the feed's terms, newest first: those of now, and up to 99 earlier ones."""
        history = self.get_object().terms.order_by("-id")[:100]
        return Response(TermsSerializer(history, many=True).data)

    @extend_schema(
        request=NewTermsSerializer, responses={201: TermsSerializer, 200: TermsSerializer}
    )
    @terms.mapping.post
    def change_terms(self, request: Request, slug: str) -> Response:
        """State the feed's terms from now on; earlier ones stay readable. 200: the same ones."""
        feed = self.get_object()
        values = validated_body(NewTermsSerializer, request)
        row, is_new = change_terms(feed.pk, by=caller(request), **values)
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(TermsSerializer(row).data, status=code)

    @extend_schema(responses=DraftSerializer(many=True), filters=False)
    @action(detail=True, methods=["get"], filterset_class=None, pagination_class=None)
    def drafts(self, request: Request, slug: str) -> Response:
        """List the drafts that are neither published nor discarded, newest first (500 at most)."""
        return Response(DraftSerializer(open_drafts(self.get_object())[:MAX_OPEN], many=True).data)

    @extend_schema(request=NewDraftSerializer, responses={201: DraftSerializer})
    @drafts.mapping.post
    def create_draft(self, request: Request, slug: str) -> Response:
        """Store a draft, faults included. Nothing is sent."""
        feed = self.get_object()
        values = validated_body(NewDraftSerializer, request)
        draft = store_draft(
            feed.pk, action=Action(values["action"]), body=values["body"], by=caller(request)
        )  # fmt: skip
        return Response(DraftSerializer(draft).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses=DraftSerializer, parameters=DRAFT_ID)
    @action(detail=True, methods=["get"], url_path=_DRAFT, filterset_class=None)
    def draft(self, request: Request, slug: str, draft_id: str) -> Response:
        """Return a draft."""
        return Response(DraftSerializer(self._draft(draft_id)).data)

    @extend_schema(request=ChangedDraftSerializer, responses=DraftSerializer, parameters=DRAFT_ID)
    @draft.mapping.patch
    def change_draft(self, request: Request, slug: str, draft_id: str) -> Response:
        """Replace what a draft says. 409: it was changed since, published or discarded."""
        draft = self._draft(draft_id)
        values = validated_body(ChangedDraftSerializer, request)
        changed = store_draft(
            draft.feed_id, action=Action(draft.action), key=draft.key, by=caller(request), **values
        )
        return Response(DraftSerializer(changed).data)

    @extend_schema(
        request=DraftVersionSerializer,
        responses={201: SignalSerializer, 200: SignalSerializer},
        parameters=DRAFT_ID,
    )
    @action(detail=True, methods=["post"], url_path=f"{_DRAFT}/publish")
    def publish_draft(self, request: Request, slug: str, draft_id: str) -> Response:
        """Make a draft a signal and publish it, once. 200: it was made before, and is returned.

        If neither the feed nor the signal is approved, the signal waits for an operator.
        """
        draft = self._draft(draft_id)
        values = validated_body(DraftVersionSerializer, request)
        signal, is_new = publish_draft(draft.pk, by=caller(request), **values)
        data = SignalSerializer(signal, context=self.get_serializer_context()).data
        return Response(data, status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK)

    @extend_schema(request=None, responses=DraftSerializer, parameters=DRAFT_ID)
    @action(detail=True, methods=["post"], url_path=f"{_DRAFT}/discard")
    def discard_draft(self, request: Request, slug: str, draft_id: str) -> Response:
        """Discard a draft for good."""
        draft = self._draft(draft_id)
        discard_draft(draft.pk, by=caller(request))
        draft.refresh_from_db()
        return Response(DraftSerializer(draft).data)

    def _draft(self, draft_id: str) -> SavedDraft:
        found: SavedDraft = get_object_or_404(
            self.get_object().drafts.select_related("feed"), pk=int(draft_id)
        )
        return found

    def _requests(self, feed: Feed) -> Response:
        rows = feed.approval_requests.order_by("-id")[:100]
        return Response(ApprovalRequestSerializer(rows, many=True).data)

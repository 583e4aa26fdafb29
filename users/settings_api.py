"""REST API of the operational settings, for staff: read, change, restore."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from common.models import SettingsVersion
from common.operational import current, store
from common.operational.reading import dump
from common.permissions import Right, require
from common.web.api_fields import StrictModelSerializer, StrictSerializer, WholeNumber
from common.web.api_views import ObjectView
from users.api import caller


class SettingsInForceSerializer(serializers.Serializer[Any]):
    """What every process uses now."""

    version = serializers.IntegerField(help_text="0: no version is stored.")
    newest = serializers.IntegerField(help_text="Another number than version if it is invalid.")
    faults = serializers.ListField(
        child=serializers.CharField(), help_text="What is wrong with the newest version."
    )
    document = serializers.DictField(help_text="All settings, by groups: a valid import.")


class SettingsVersionSerializer(StrictModelSerializer[SettingsVersion]):
    """A version of the settings: who stored it, when and why."""

    made_at = serializers.DateTimeField(read_only=True, help_text="When it was stored.")
    document = serializers.DictField(read_only=True, help_text="All settings, by groups.")

    class Meta:
        model = SettingsVersion
        fields = ("id", "made_at", "username", "origin", "why", "restored", "document")
        read_only_fields = fields


class NewSettingsSerializer(StrictSerializer):
    """Settings to change; all others stay as they are."""

    document = serializers.DictField(help_text="The settings to change, by groups.")
    why = serializers.CharField(max_length=store.WHY_LONGEST)
    base = WholeNumber(
        required=False, min_value=0, help_text="The version that you saw; 409 if there is another."
    )


class SettingsViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, ObjectView, viewsets.GenericViewSet[Any]
):
    """The settings of the installation and their versions, newest first. For staff.

    A change is validated as a whole: every fault is reported with its path, and nothing of an
    invalid document is used. All processes use a new version within two seconds.
    """

    queryset = SettingsVersion.objects.none()
    serializer_class = SettingsVersionSerializer
    lookup_value_regex = "[0-9]{1,9}"
    rights = {"create": Right.SETTINGS, "restore": Right.SETTINGS}
    ordering_fields = ("id",)

    def get_queryset(self) -> QuerySet[SettingsVersion]:
        """Return the versions, for staff who may read everything."""
        require(caller(self.request), Right.READ)
        return SettingsVersion.objects.order_by("-pk")

    @extend_schema(responses=SettingsInForceSerializer)
    @action(detail=False, url_path="current")
    def current(self, request: Request) -> Response:
        """What is in force now."""
        require(caller(request), Right.READ)
        found = current.in_force()
        return Response(
            {
                "version": found.number,
                "newest": found.seen.number,
                "faults": list(map(str, found.faults)),
                "document": dump(found.document),
            }
        )

    @extend_schema(
        request=NewSettingsSerializer,
        responses={
            201: SettingsVersionSerializer,
            200: OpenApiResponse(SettingsVersionSerializer, description="Nothing differs."),
        },
    )
    def create(self, request: Request) -> Response:
        """Store a version with these settings changed."""
        body = NewSettingsSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        given: dict[str, Any] = body.validated_data
        version = store.save(
            given["document"],
            by=caller(request),
            why=given["why"],
            origin=store.Origin.API,
            base=given.get("base"),
        )
        if version is None:
            same = store.newest() or SettingsVersion(id=0, document=store.document_of(None))
            return Response(SettingsVersionSerializer(same).data)
        return Response(SettingsVersionSerializer(version).data, status.HTTP_201_CREATED)

    @extend_schema(request=None, responses={201: SettingsVersionSerializer})
    @action(detail=True, methods=["post"])
    def restore(self, request: Request, pk: str) -> Response:
        """Store an earlier version again, as the newest one."""
        version = store.restore(int(pk), by=caller(request), origin=store.Origin.API)
        return Response(SettingsVersionSerializer(version).data, status.HTTP_201_CREATED)

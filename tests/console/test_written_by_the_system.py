"""Rows that only the system writes, under the web process's role: the console only shows them."""

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from common.permissions import Role
from config import urls  # noqa: F401  # registers the admin's pages
from tests.console.role_matrix import LISTS, NO_ROLE
from tests.matrix import WALK_TIME, Walk
from tests.portal.conftest import as_web_process
from tests.roles import staff
from tests.users.world import tenant
from users.models import User

pytestmark = pytest.mark.django_db


@WALK_TIME
def test_post_to_what_may_only_be_read_is_not_allowed() -> None:
    """The role may not lock such a row. No one may write it, so it is 405, for superusers too."""
    tenant("rich")  # a row in every table of tenants
    everything = Client(raise_request_exception=False)
    everything.force_login(User.objects.create_superuser("root"))
    reading = Client(raise_request_exception=False)
    reading.force_login(staff(Role.SUPPORT))
    for client in (everything, reading):
        as_web_process(client)
    with Walk(everything, reading) as walk:
        for model in walk.each(admin.site._registry):
            label = model._meta.label_lower
            row = model._base_manager.order_by("pk").first()
            for form in ("change", "delete", "history"):
                if row is None or getattr(LISTS[label], form, NO_ROLE) != NO_ROLE:
                    continue
                path = reverse(f"admin:{label.replace('.', '_')}_{form}", args=[row.pk])
                for who, client in (("superuser", everything), ("support", reading)):
                    with walk.cell(path, who) as cell:
                        cell.expect(405, client.post(path, {"post": "yes"}).status_code)
    assert walk.cells > 100

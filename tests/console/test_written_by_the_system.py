"""Forms of the console for rows that only the system writes, under the web process's role."""

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from common.permissions import Role
from config import urls  # noqa: F401  # registers the admin's pages
from tests.console.role_matrix import LISTS, READ_ONLY
from tests.matrix import Walk
from tests.portal.conftest import as_web_process
from tests.roles import staff
from tests.users.world import tenant

pytestmark = pytest.mark.django_db


def test_forms_of_rows_that_the_system_writes_are_refused() -> None:
    """The role may not lock such a row; each refusal is 403, no error of the server."""
    tenant("rich")  # a row in every table of tenants
    client = Client(raise_request_exception=False)
    client.force_login(staff(Role.ADMINISTRATOR, Role.OPERATOR, Role.RISK_OFFICER))
    as_web_process(client)
    with Walk(client) as walk:
        for model in walk.each(admin.site._registry):
            label = model._meta.label_lower
            row = model._base_manager.order_by("pk").first()
            if row is None or LISTS[label] != READ_ONLY:
                continue
            for form in ("change", "delete"):
                path = reverse(f"admin:{label.replace('.', '_')}_{form}", args=[row.pk])
                with walk.cell(path) as cell:
                    cell.expect(403, client.post(path).status_code)
    assert walk.cells > 20

"""The addresses of the second factor and of API keys, for everybody: tenants and staff."""

from django.urls import path

from portal.views import keys, second_factor

app_name = "security"
urlpatterns = [
    path("login/code/", second_factor.code, name="code"),
    path("login/first/", second_factor.first, name="first"),
    path("security/", second_factor.overview, name="overview"),
    path("security/confirm/", second_factor.confirm, name="confirm"),
    path("security/enrol/", second_factor.enrol, name="enrol"),
    path("security/recovery-codes/", second_factor.recovery_codes, name="recovery_codes"),
    path("security/turn-off/", second_factor.turn_off, name="turn_off"),
    path("keys/", keys.keys, name="keys"),
    path("keys/create/", keys.create, name="key_create"),
    path("keys/<int:pk>/revoke/", keys.revoke, name="key_revoke"),
]

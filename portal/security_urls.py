"""The addresses of a user's own password, second factor, API keys and channels."""

from django.urls import path

from portal.views import (
    channel_page,
    channels,
    delete_login,
    keys,
    own_data,
    own_password,
    profile,
    second_factor,
    sessions,
)

app_name = "security"
urlpatterns = [
    path("login/code/", second_factor.enter_code, name="code"),
    path("login/first/", second_factor.set_up_at_sign_in, name="first"),
    path("security/", second_factor.overview, name="overview"),
    path("security/confirm/", second_factor.confirm, name="confirm"),
    path("security/enrol/", second_factor.enrol, name="enrol"),
    path("security/recovery-codes/", second_factor.recovery_codes, name="recovery_codes"),
    path("security/turn-off/", second_factor.turn_off, name="turn_off"),
    path("security/delete/", delete_login.delete, name="delete_login"),
    path("security/email/", profile.email, name="email"),
    path("profile/", profile.profile, name="profile"),
    path("profile/confirm-address/", profile.resend, name="email_resend"),
    path("sessions/", sessions.sessions, name="sessions"),
    path("sessions/end/", sessions.end_others, name="sessions_end"),
    path("sessions/<str:reference>/end/", sessions.end_one, name="session_end"),
    path("data/", own_data.own_data, name="data"),
    path("data/download/", own_data.download, name="data_download"),
    path("password/", own_password.change, name="password"),
    path("keys/", keys.keys, name="keys"),
    path("keys/create/", keys.create, name="key_create"),
    path("keys/<int:pk>/revoke/", keys.revoke, name="key_revoke"),
    path("channels/", channels.channels, name="channels"),
    path("channels/create/", channels.choose, name="channel_create"),
    path("channels/create/<slug:service>/", channels.create, name="channel_new"),
    path("channels/kinds/", channel_page.kinds, name="channel_kinds"),
    path("channels/<int:pk>/", channel_page.channel, name="channel"),
    path("channels/<int:pk>/rules/", channel_page.rules, name="channel_rules"),
    path("channels/<int:pk>/secret/", channel_page.secret, name="channel_secret"),
    path("channels/messages/<int:pk>/resend/", channel_page.send_again, name="message_resend"),
    path("channels/<int:pk>/test/", channels.test, name="channel_test"),
    path("channels/<int:pk>/resend/", channels.resend, name="channel_resend"),
    path("channels/<int:pk>/remove/", channels.remove, name="channel_remove"),
    path("channels/<int:pk>/confirm/<str:code>/", channels.confirm, name="channel_confirm"),
]

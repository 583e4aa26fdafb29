"""The addresses that visitors need: sign up, forgotten password, links from mails."""

from django.urls import path

from portal.views import doors

app_name = "door"
urlpatterns = [
    path("sign-up/", doors.ask_to_sign_up, name="sign_up"),
    path("sign-up/<str:token>/", doors.finish_sign_up, name="sign_up_finish"),
    path("invitation/<str:secret>/", doors.accept_invitation, name="invitation"),
    path("forgot-password/", doors.forgot_password, name="forgot_password"),
    path("reset-password/<str:uid>/<str:token>/", doors.reset_password, name="reset_password"),
    path("confirm-address/<str:token>/", doors.confirm_address, name="confirm_address"),
]

"""The addresses that visitors need: sign up, forgotten password, links from mails."""

from django.urls import path

from portal.views import visitors

app_name = "visitor"
urlpatterns = [
    path("sign-up/", visitors.ask_to_sign_up, name="sign_up"),
    path("sign-up/<str:token>/", visitors.finish_sign_up, name="sign_up_finish"),
    path("invitation/<str:secret>/", visitors.accept_invitation, name="invitation"),
    path("forgot-password/", visitors.forgot_password, name="forgot_password"),
    path("reset-password/<str:uid>/<str:token>/", visitors.reset_password, name="reset_password"),
    path("confirm-address/<str:token>/", visitors.confirm_address, name="confirm_address"),
]

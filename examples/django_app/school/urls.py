"""The URLs: the kit's below ``video/``, and the app's own."""

from __future__ import annotations

from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from . import views

urlpatterns = [
    path("video/", include("rolecall_django.urls")),
    path("login/", views.log_in),
    path("lessons/<session_id>/", views.lesson),
    path("lessons/<session_id>/questions/", csrf_exempt(views.Questions.as_view())),
    path("lessons/<session_id>/sent-out/<username>/", views.send_out),
]

"""The routes of the kit of the settings: ``path("video/", include("rolecall_django.urls"))``."""

from .views import patterns

app_name = "rolecall"
urlpatterns = patterns()

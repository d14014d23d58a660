"""The views. The guard around the whole site binds the session that ``<session_id>`` names."""

from __future__ import annotations

from django.contrib.auth import authenticate, login
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from rolecall_django import GuardedRequest, public, require_capability, require_role

from .models import SentOut


@public
@csrf_exempt
@require_POST
def log_in(request: HttpRequest) -> HttpResponse:
    """Log somebody in, by name and password."""
    user = authenticate(request, username=request.POST.get("name"), password=request.POST.get("password"))
    if user is None:
        return JsonResponse({"error": "nobody has this name and this password"}, status=403)
    login(request, user)
    return JsonResponse({"name": user.get_username()})


async def lesson(request: GuardedRequest, session_id: str) -> HttpResponse:
    """Show the lesson."""
    return JsonResponse({"lesson": session_id, "you": request.grant.data, "role": request.grant.role})


class Questions(View):
    """The questions of a lesson."""

    @require_capability("signal")
    def post(self, request: GuardedRequest, session_id: str) -> HttpResponse:
        """Ask a question."""
        return JsonResponse({"lesson": session_id, "asked_by": request.grant.data}, status=201)


@csrf_exempt  # the token is in a header, which no foreign page can send
@require_role("moderator")
def send_out(request: GuardedRequest, session_id: str, username: str) -> HttpResponse:
    """Send somebody out of the lesson."""
    SentOut.objects.get_or_create(session_id=session_id, username=username)
    return HttpResponse(status=204)

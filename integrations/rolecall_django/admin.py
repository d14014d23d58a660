"""Pages in Django's admin: sessions, live tokens and exclusions, and what takes them back. The kit carries it out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import formats, timezone
from django.utils.text import capfirst

from rolecall import Rolecall
from rolecall.errors import NoLedger, RolecallError, SessionNotFound

from .kits import get_kit
from .models import Exclusion, IssuedToken, Session

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Model]
else:  # it takes no parameter when it runs
    _ModelAdmin = admin.ModelAdmin

_LOG: Final = logging.getLogger("rolecall")


class Act(NamedTuple):
    """What a button of a page does.

    :param name: what the form says.
    :param label: what the button says.
    :param warning: what is asked before.
    :param fields: the names of the values that it needs.
    :param done: what is noted of it in the admin's history, with the values by their names.
    """

    name: str
    label: str
    warning: str
    fields: tuple[str, ...]
    done: str


class Row(NamedTuple):
    """A line of a list.

    :param cells: what it shows.
    :param values: the values for its button.
    :param act: the button; None if there is none.
    """

    cells: Sequence[str]
    values: Mapping[str, str]
    act: Act | None


class Page(NamedTuple):
    """A part of a list, and the cursor of the next one; None if there is none."""

    rows: Sequence[Row]
    next: str | None


class _Filters(forms.Form):
    """The base of a list's filters; text is taken as it is, because ids may have spaces at their ends."""


class KitAdmin(_ModelAdmin):
    """A list that the kit reads page by page, with its own cursors, and acts that the kit carries out.

    Who may view the model sees the list, who may change it the buttons, too. An act is asked for once more before it is
    carried out, by a form with Django's proof against forged requests (CSRF), and noted in the admin's history.
    """

    #: The headings of the list.
    columns: ClassVar[tuple[str, ...]]
    #: The filters, and the form above the list for what needs no row; None if there is none.
    filters: ClassVar[type[forms.Form]]
    entry: ClassVar[type[forms.Form] | None] = None
    #: The acts by their names.
    acts: ClassVar[Mapping[str, Act]]

    def page(self, kit: Rolecall, wanted: Mapping[str, Any], after: str | None) -> Page:
        """The part of the list that begins behind a cursor."""
        raise NotImplementedError

    def carry_out(self, kit: Rolecall, act: Act, values: Mapping[str, Any]) -> Model:
        """Carry an act out; return what it concerns."""
        raise NotImplementedError

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        """Nobody adds a row by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, *_: Any) -> bool:
        """Nobody deletes a row."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """The list alone: a row has no page of its own."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"

        @wraps(self.changelist_view)
        def view(*args: Any, **kwargs: Any) -> Any:
            return self.admin_site.admin_view(self.changelist_view)(*args, **kwargs)

        view.model_admin = self  # type: ignore[attr-defined]  # by which it is listed as guarded, as Django's own
        return [path("", view, name=name)]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list; or ask for, and carry out, what a button asks for."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        if request.method == "POST":
            return self._act(request)
        wanted, after = self.filters(request.GET), request.GET.get("after")
        found = Page((), None)
        if wanted.is_valid():
            found = self._told(request, lambda kit: self.page(kit, wanted.cleaned_data, after)) or found
        following = {**request.GET.dict(), "after": found.next} if found.next else None
        context = {
            "columns": self.columns,
            "rows": found.rows,
            "filters": wanted,
            "entry": self.entry() if self.entry else None,
            "entry_act": next(iter(self.acts.values())),
            "may_act": self.has_change_permission(request),
            "next": following and urlencode(following),
            "is_first": after is None,
        }
        return self._shown(request, "list", context | (extra_context or {}))

    def _act(self, request: HttpRequest) -> HttpResponse:
        if not self.has_change_permission(request):
            raise PermissionDenied
        back = HttpResponseRedirect(request.get_full_path())
        act = self.acts.get(request.POST.get("act", ""))
        if act is None:
            messages.error(request, "This page has no such button.")
            return back
        given = self._values(request, act)
        if given is None:
            return back
        if "confirmed" not in request.POST:
            values = {name: request.POST.get(name, "") for name in act.fields}
            return self._shown(request, "confirm", {"act": act, "values": values})
        done = self._told(request, lambda kit: self.carry_out(kit, act, given))
        if done is not None:
            note = act.done.format(**given)
            self.log_change(request, done, note)
            messages.success(request, note)
        return back

    def _values(self, request: HttpRequest, act: Act) -> dict[str, Any] | None:
        """The values of a button's form, or of the form above the list; None if one of them is missing or wrong."""
        form = self.entry(request.POST) if self.entry and act is next(iter(self.acts.values())) else None
        if form is not None and not form.is_valid():
            for name, problems in form.errors.items():
                messages.error(request, f"{form.fields[name].label or name}: {' '.join(map(str, problems))}")
            return None
        values = {name: request.POST.get(name, "") for name in act.fields}
        return values if form is None else {**values, **form.cleaned_data}

    def _told(self, request: HttpRequest, do: Callable[[Rolecall], Any]) -> Any:
        """The result of something that the kit does; None, with a message, if it refuses."""
        try:
            return do(get_kit())
        except NoLedger as error:
            messages.error(request, str(error))
        except RolecallError as error:
            if error.status >= 500:
                _LOG.warning("the admin could not show or change what the store keeps: %s", error)
            messages.error(request, f"{error.public_message} ({error.code})")
        return None

    def _shown(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        shared = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": capfirst(self.opts.verbose_name_plural),
        }
        return TemplateResponse(request, f"rolecall/admin/{name}.html", {**shared, **context})


def _moment(seconds: float | None) -> str:
    """A time in Unix seconds, as the admin shows times; empty for none."""
    if seconds is None:
        return ""
    return str(formats.localize(datetime.fromtimestamp(seconds, timezone.get_current_timezone())))


def _text(label: str, **options: Any) -> forms.CharField:
    return forms.CharField(label=label, strip=False, max_length=255, **options)


# -- sessions --------------------------------------------------------------------------------------


class SessionFilters(_Filters):
    """Which sessions are shown."""

    session_id = _text("Session", required=False)
    created_by = _text("Created by", required=False)
    state = forms.ChoiceField(choices=[("", "all"), ("open", "open"), ("ended", "ended")], required=False)


_END: Final = Act(
    "end",
    "End",
    "The session ends for good: it issues no more tokens, and all that it has issued are refused.",
    ("session_id",),
    "Ended the session {session_id}.",
)


@admin.register(Session)
class SessionAdmin(KitAdmin):
    """Sessions, the newest first."""

    columns = ("Session", "Created", "Created by", "Ended")
    filters = SessionFilters
    acts: ClassVar[Mapping[str, Act]] = {_END.name: _END}

    def page(self, kit: Rolecall, wanted: Mapping[str, Any], after: str | None) -> Page:
        """See :class:`KitAdmin`."""
        if wanted["session_id"]:
            try:
                return Page([self._row(kit.get_session(wanted["session_id"]))], None)
            except SessionNotFound:
                return Page((), None)
        found = kit.sessions(state=wanted["state"] or None, created_by=wanted["created_by"] or None, after=after)
        return Page([self._row(session) for session in found], found.next)

    def carry_out(self, kit: Rolecall, act: Act, values: Mapping[str, Any]) -> Model:
        """See :class:`KitAdmin`."""
        kit.end_session(values["session_id"])
        return Session(values["session_id"])

    def _row(self, session: Any) -> Row:
        ended = session.ended_at
        cells = (session.session_id, _moment(session.created_at), session.created_by or "", _moment(ended))
        return Row(cells, {"session_id": session.session_id}, _END if ended is None else None)


# -- live tokens -----------------------------------------------------------------------------------


class TokenFilters(_Filters):
    """Which tokens are shown."""

    session_id = _text("Session", required=False)
    actor = _text("Actor", required=False)


_REVOKE: Final = Act(
    "revoke",
    "Revoke",
    "The token and its renewals are refused from now on. Its bearer may get another one.",
    ("session_id", "token_id"),
    "Revoked the token {token_id} of the session {session_id}.",
)


@admin.register(IssuedToken)
class IssuedTokenAdmin(KitAdmin):
    """Live tokens, the newest first, of a kit that keeps a ledger."""

    columns = ("Token's id", "Session", "Actor", "Role", "Issued", "Expires")
    filters = TokenFilters
    acts: ClassVar[Mapping[str, Act]] = {_REVOKE.name: _REVOKE}

    def page(self, kit: Rolecall, wanted: Mapping[str, Any], after: str | None) -> Page:
        """See :class:`KitAdmin`."""
        found = kit.live_tokens(wanted["session_id"] or None, wanted["actor"] or None, after=after)
        return Page([self._row(token) for token in found], found.next)

    def carry_out(self, kit: Rolecall, act: Act, values: Mapping[str, Any]) -> Model:
        """See :class:`KitAdmin`."""
        kit.revoke_token(session_id=values["session_id"], token_id=values["token_id"])
        return IssuedToken(values["token_id"])

    def _row(self, token: Any) -> Row:
        times = (_moment(token.issued_at), _moment(token.expires_at))
        cells = (token.token_id, token.session_id, token.actor_id or "", token.role, *times)
        return Row(cells, {"session_id": token.session_id, "token_id": token.token_id}, _REVOKE)


# -- exclusions ------------------------------------------------------------------------------------


class ExclusionFilters(_Filters):
    """Which exclusions are shown."""

    session_id = _text("Session", required=False)


class ExclusionEntry(forms.Form):
    """Who is to be excluded."""

    session_id = _text("Session")
    actor = _text("Actor")
    until = forms.DateTimeField(label="Until", required=False, help_text="for good unless given")


_EXCLUDE: Final = Act(
    "exclude",
    "Exclude",
    "All tokens that the actor has for this session are refused, and it issues none to the actor.",
    ("session_id", "actor", "until"),
    "Excluded {actor} from the session {session_id}.",
)
_READMIT: Final = Act(
    "readmit",
    "Readmit",
    "The actor's tokens of before are good again, and the session issues new ones.",
    ("session_id", "actor"),
    "Readmitted {actor} to the session {session_id}.",
)


@admin.register(Exclusion)
class ExclusionAdmin(KitAdmin):
    """Exclusions that stand."""

    columns = ("Session", "Actor", "Until")
    filters = ExclusionFilters
    entry = ExclusionEntry
    acts: ClassVar[Mapping[str, Act]] = {_EXCLUDE.name: _EXCLUDE, _READMIT.name: _READMIT}

    def page(self, kit: Rolecall, wanted: Mapping[str, Any], after: str | None) -> Page:
        """See :class:`KitAdmin`."""
        found = kit.exclusions(wanted["session_id"] or None, after=after)
        return Page([self._row(exclusion) for exclusion in found], found.next)

    def carry_out(self, kit: Rolecall, act: Act, values: Mapping[str, Any]) -> Model:
        """See :class:`KitAdmin`."""
        if act is _READMIT:
            kit.readmit(values["session_id"], values["actor"])
        else:
            kit.exclude(values["session_id"], values["actor"], _until(values["until"]))
        return Exclusion(values["session_id"])

    def _row(self, exclusion: Any) -> Row:
        until = _moment(exclusion.until) or "for good"
        values = {"session_id": exclusion.session_id, "actor": exclusion.actor_id}
        return Row((exclusion.session_id, exclusion.actor_id, until), values, _READMIT)


def _until(given: datetime | None) -> datetime | None:
    return timezone.make_aware(given) if given is not None and timezone.is_naive(given) else given

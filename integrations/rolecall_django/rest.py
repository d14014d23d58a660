"""Guards for Django REST framework: an authentication class, and permission classes.

``permission_classes = [RoleRequired("moderator")]`` is to a view of that framework what ``@require_role("moderator")``
is to any other. Nothing else of this package imports the framework before an app does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, NoReturn

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, ErrorDetail
from rest_framework.permissions import AND, NOT, OR, BasePermission, BasePermissionMetaclass, SingleOperandHolder
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from rolecall import Capability, CapabilityName, Grant, Role, Rolecall, RoleName
from rolecall.errors import ConfigurationError, MissingCredential, RolecallError
from rolecall.http import adapter
from rolecall.http.adapter import ANY_TOKEN, UNSAID, SessionParam, SessionResolver, drive

from .guards import Entry, Guard, find_grant, judged_by
from .kits import apis_of, get_kit
from .rest_views import native_of
from .translation import keep_out_of_caches, neutral_request, query_of

if TYPE_CHECKING:
    from rest_framework.views import APIView

__all__ = ["Bearer", "CapabilityRequired", "GuardPermission", "Refusal", "RoleRequired", "RolecallAuthentication"]
__all__ += ["TokenRequired"]

_CHALLENGE: Final = "WWW-Authenticate"
_ANY: Final = Guard(ANY_TOKEN)
#: Why no permission here is negated.
NEGATED: Final = (
    "a negation would admit whoever has no good token; say what is required, such as "
    "RoleRequired('subscriber', exact=True)"
)


class Bearer:
    """The bearer of a token, as ``request.user``: no user of Django's, with none of their permissions.

    :param grant: the grant of the token.
    """

    is_active = True
    is_anonymous = False
    is_authenticated = True
    is_staff = False
    is_superuser = False

    def __init__(self, grant: Grant) -> None:
        self.grant = grant

    @property
    def pk(self) -> str:
        """The id of the actor that the token is for; for a token that names none, its own id."""
        return self.grant.actor_id or self.grant.token_id

    @property
    def id(self) -> str:
        """See :attr:`pk`."""
        return self.pk

    def get_username(self) -> str:
        """The token's connection data."""
        return self.grant.data or ""

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """False: a token grants capabilities, and no permissions of Django's."""
        return False

    def has_perms(self, perm_list: Sequence[str], obj: object = None) -> bool:
        """See :meth:`has_perm`."""
        return False

    def has_module_perms(self, app_label: str) -> bool:
        """See :meth:`has_perm`."""
        return False

    def __str__(self) -> str:
        return self.get_username()


class Refusal(APIException):
    """A refused request, for the framework's exception handler; its ``detail`` is the kit's problem document.

    Its status and its challenge stay, whichever authentication class comes first.

    :param error: the reason.
    :param answer: the kit's own answer.
    """

    def __init__(self, error: RolecallError, answer: adapter.Response) -> None:
        super().__init__(error.public_message, error.code)
        #: The reason.
        self.error = error
        self.status_code = answer.status
        document = json.loads(answer.body)
        self.detail: Any = {name: _member(value, error.code) for name, value in document.items()}
        #: The challenge (RFC 6750); None if there is none.
        self.auth_header = dict(answer.headers).get(_CHALLENGE)
        #: Seconds after which the request may be repeated; None if unknown.
        self.wait = error.retry_after


class _Number(int):
    """A number in the detail of an exception, each member of which has a code."""

    code: str


def _member(value: Any, code: str) -> Any:
    if not isinstance(value, int):
        return ErrorDetail(value, code)
    number = _Number(value)
    number.code = code
    return number


class _ProblemRenderer(JSONRenderer):
    """Renders a problem document (RFC 9457)."""

    media_type = "application/problem+json"


class RolecallAuthentication(BaseAuthentication):
    """Authenticates the bearer of a token: ``request.auth`` is its grant, ``request.user`` a :class:`Bearer`.

    A request without a token is anonymous; one with a bad token is refused. On a route with a ``session_id`` the token
    must be for that session. More than that is for the permission classes, which also ask the policies.
    """

    #: The kit that verifies; a subclass may name another than that of the settings.
    kit: ClassVar[Rolecall | None] = None

    def authenticate(self, request: Request) -> tuple[Bearer, Grant] | None:
        """Return the bearer and the grant of a request; None if it has no token.

        :raises Refusal: if its token is refused.
        """
        grant = self._grant_of(request, (request.parser_context or {}).get("view"))
        native: Any = native_of(request)
        native.grant = grant
        return None if grant is None else (Bearer(grant), grant)

    def authenticate_header(self, request: Request) -> str:
        """The challenge to a request without a token."""
        return dict(adapter.refused(MissingCredential("there is no token")).headers)[_CHALLENGE]

    def _grant_of(self, request: Request, view: Any) -> Grant | None:
        native, kwargs = native_of(request), getattr(view, "kwargs", {})
        bound = kwargs.get(_ANY.session_param)
        session_id = None if bound is None else str(bound)
        entered = find_grant(native) if self.kit is None else None
        if entered is not None and session_id in (None, entered.session_id):
            return entered  # a guard around the view, or around the site, has verified it
        permission = _first_declared(view)
        if permission is None or permission.guard.kit is not self.kit:
            return _verified(request, kwargs, session_id, self.kit or get_kit())
        # It decides in any case, so the token is verified once.
        refusal = permission.judge(request, view)
        if refusal is None:
            return find_grant(native)
        if isinstance(refusal.error, MissingCredential):
            return None
        raise _as_problem(refusal, request)


class _Metaclass(BasePermissionMetaclass):
    """Refuses ``~TokenRequired``."""

    def __invert__(cls) -> NoReturn:  # noqa: N805
        raise _negated()


class GuardPermission(BasePermission, SingleOperandHolder, metaclass=_Metaclass):
    """A permission that a guard decides on: ``GuardPermission(require_role("moderator"))``.

    An object of it stands in ``permission_classes`` as a class does, alone or in ``A & B`` and ``A | B``. ``~A`` is
    refused: it would admit whoever has no good token.

    :param guard: the guard. It binds the session of a route as it does around a view.
    """

    def __init__(self, guard: Guard) -> None:
        Guard.check(guard)
        self.guard = guard

    def __call__(self, *args: Any, **kwargs: Any) -> GuardPermission:
        """Return itself, where the framework makes an object of each class."""
        return self

    def __invert__(self) -> NoReturn:
        raise _negated()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.guard.requirement.scope}>"

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the guard admits a request, whose grant is ``request.grant`` then.

        :returns: False only if the request may still have another permission: in ``A | B``, as ``A``.
        :raises Refusal: if the guard refuses it. So a negation around it, which the framework does not show, admits
            nobody.
        """
        refusal = self.judge(request, view)
        if refusal is None:
            _tell(request)
            return True
        if _may_be_made_up_for(refusal.error) and self._has_alternative(view):
            native: Any = native_of(request)
            native.grant = find_grant(native)
            return False
        raise _as_problem(refusal, request)

    def judge(self, request: Request, view: Any) -> Refusal | None:
        """Ask the guard, once for each request, and return its refusal."""
        native, kwargs = native_of(request), getattr(view, "kwargs", {})
        for guard, params, refused in judged_by(native):
            if (guard is self.guard or guard == self.guard) and params == kwargs:
                return None if refused is None else Refusal(*refused)
        entry = _Entry(self.guard, native, (native, *getattr(view, "args", ())), kwargs, view)
        error = entry.judge()
        _keep_out_of_caches(request, entry.web)
        # Without the error's frames, which hold the request.
        refused = None if error is None else (error.with_traceback(None), entry.refusal_of(error))
        entry.remember(refused)
        return None if refused is None else Refusal(*refused)

    def _has_alternative(self, view: APIView) -> bool:
        """Whether another permission may be asked after this one, by ``A | B``, and nothing negates the answer."""
        places = [
            place
            for tree in view.get_permissions()
            for place in places_of(tree)
            if place.permission.guard == self.guard
        ]
        return any(place.has_alternative for place in places) and not any(place.is_negated for place in places)


class RoleRequired(GuardPermission):
    """Admits tokens whose role has all capabilities of ``role``: ``permission_classes = [RoleRequired("moderator")]``.

    :param role: see :func:`~rolecall_django.require_role`, also for the others.
    """

    def __init__(
        self,
        role: Role | RoleName,
        *,
        exact: bool = False,
        kit: Rolecall | None = None,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
    ) -> None:
        super().__init__(Guard.of_role(role, exact=exact, kit=kit, session_param=session_param, session=session))


class CapabilityRequired(GuardPermission):
    """Admits tokens with this capability: ``permission_classes = [CapabilityRequired("force_disconnect")]``.

    :param capability: see :func:`~rolecall_django.require_capability`, also for the others.
    """

    def __init__(
        self,
        capability: Capability | CapabilityName,
        *,
        kit: Rolecall | None = None,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
    ) -> None:
        super().__init__(Guard.of_capability(capability, kit=kit, session_param=session_param, session=session))


class TokenRequired(GuardPermission):
    """Admits every good token, whatever its role: ``permission_classes = [TokenRequired]``, or with arguments.

    :param optional: see :func:`~rolecall_django.require_token`, also for the others.
    """

    def __init__(
        self,
        *,
        optional: bool = False,
        kit: Rolecall | None = None,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
    ) -> None:
        super().__init__(Guard(ANY_TOKEN, kit, session_param, session, optional))


class _Entry(Entry):
    """One request at the guard of a permission."""

    __slots__ = ("_view",)

    def __init__(
        self, guard: Guard, request: HttpRequest, args: Sequence[Any], kwargs: Mapping[str, Any], view: Any
    ) -> None:
        super().__init__(guard, request, args, kwargs)
        self._view = view

    def _others(self) -> tuple[Sequence[adapter.Guard], Sequence[adapter.Guard]]:
        around, _ = super()._others()
        guards = [*demanded(self._view.get_permissions())]
        # By its demands, because a class makes another object of it each time.
        place = guards.index(self._guard) if self._guard in guards else len(guards)
        return [*around, *guards[:place]], guards[place + 1 :]


def _tell(request: Request) -> None:
    """Have ``request.auth`` be what the policies have left of the grant."""
    native: Any = native_of(request)
    if request.auth is native.grant or not isinstance(request.successful_authenticator, RolecallAuthentication):
        return
    bearer: Any = Bearer(native.grant)
    request.user, request.auth = bearer, native.grant


class Place(NamedTuple):
    """The place of a guard's permission among those of a view.

    :param has_alternative: whether another one may be asked in its stead: in ``A | B`` it is ``A``.
    :param is_negated: whether a ``~`` stands before it.
    """

    permission: GuardPermission
    has_alternative: bool
    is_negated: bool


def places_of(permission: Any, has_alternative: bool = False, is_negated: bool = False) -> Iterator[Place]:
    """The places of guards in a permission of a view, as the framework has made it."""
    if isinstance(permission, GuardPermission):
        yield Place(permission, has_alternative, is_negated)
        return
    operands = operands_of(permission)
    for number, operand in enumerate(operands, 1):
        is_first_of_or = isinstance(permission, OR) and number < len(operands)
        yield from places_of(operand, has_alternative or is_first_of_or, is_negated or isinstance(permission, NOT))


def demanded(permissions: Iterable[Any]) -> Iterator[Guard]:
    """The guards among a view's permissions that every request must pass."""
    for permission in permissions:
        if isinstance(permission, GuardPermission):
            yield permission.guard
        elif isinstance(permission, AND):
            yield from demanded(operands_of(permission))


def operands_of(permission: Any) -> tuple[Any, ...]:
    """The permissions that one of the framework's operators joins; none if it is no operator."""
    if isinstance(permission, NOT):
        return (vars(permission)["op1"],)
    if isinstance(permission, AND | OR):
        return vars(permission)["op1"], vars(permission)["op2"]
    return ()


def _first_declared(view: Any) -> GuardPermission | None:
    """The first permission of a guard that a view declares, if it asks what it declares."""
    # Not before: that module imports what is in DEFAULT_PERMISSION_CLASSES, such as this one.
    from rest_framework.views import APIView

    if getattr(type(view), "get_permissions", None) is not APIView.get_permissions:
        return None
    for declared in view.permission_classes:
        if isinstance(declared, GuardPermission):
            return declared
        if isinstance(declared, type) and issubclass(declared, GuardPermission):
            return declared()  # type: ignore[call-arg]
    return None


def _verified(request: Request, kwargs: Mapping[str, Any], session_id: str | None, kit: Rolecall) -> Grant | None:
    """The grant of a request's token, without the policies; None if it has no token."""
    native, api = native_of(request), apis_of(kit).thread
    _keep_out_of_caches(request, api.web)
    try:
        token, _ = api.credentials.find(neutral_request(native, kwargs))
        return drive(api.engine.verify_and_tell(token, session_id))
    except MissingCredential:
        return None
    except RolecallError as error:
        refused = error
    raise refusal_for(request, refused, adapter.guard_answer(refused, api.web, query_of(native)), api.web)


def refusal_for(request: Request, error: RolecallError, answer: adapter.Response, web: Any) -> Refusal:
    """The refusal of a guard that stands within a view: around a function of ``@api_view``, or a helper.

    :param web: the kit's rules for browsers.
    """
    _keep_out_of_caches(request, web)
    return _as_problem(Refusal(error, answer), request)


def _as_problem(refusal: Refusal, request: Request) -> Refusal:
    """A refusal, which is sent as a problem document if JSON is what the client gets."""
    if getattr(getattr(request, "accepted_renderer", None), "format", None) == _ProblemRenderer.format:
        request.accepted_renderer = _ProblemRenderer()
        request.accepted_media_type = _ProblemRenderer.media_type
    return refusal


def _keep_out_of_caches(request: Request, web: Any) -> None:
    """Have the answer to a request get the headers of guarded answers."""
    view = (request.parser_context or {}).get("view")
    finalize = getattr(view, "finalize_response", None)
    if view is None or finalize is None or isinstance(finalize, partial):
        return
    view.finalize_response = partial(_finalized, finalize, web)  # of this request alone, as the view is


def _finalized(finalize: Callable[..., Any], web: Any, request: Request, *args: Any, **kwargs: Any) -> Any:
    response = finalize(request, *args, **kwargs)
    keep_out_of_caches(response, web, query_of(native_of(request)))
    return response


def _may_be_made_up_for(error: RolecallError) -> bool:
    """Whether another permission may admit a request that a guard refuses with ``error``: not with a bad token."""
    return isinstance(error, MissingCredential) or error.status == HTTPStatus.FORBIDDEN


def _negated() -> ConfigurationError:
    return ConfigurationError(f"~ before a permission of rolecall_django: {NEGATED}")

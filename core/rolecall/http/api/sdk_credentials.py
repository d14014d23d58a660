"""The credentials of a project's own servers, as its SDKs make them. A client's token never passes for one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from ...encoding import jws, strict_json
from ...errors import InvalidServerCredential, InvalidToken, MalformedToken, MissingCredential, RolecallError
from ...formats.inspection import claims_in
from ...formats.opentok import OpenTokFormat
from ...keys.issuers import Issuer
from ...wording import moment, shown_key
from ..credentials import bearer_of

#: The header with a project's credential (HS256); an application's (RS256) is a bearer token.
HEADER: Final = "X-OPENTOK-AUTH"
_HEADER: Final = HEADER.lower()
_BEARER: Final = "the bearer's credential"
#: The longest life of such a credential, in seconds. The SDKs' own live for 3 to 15 minutes.
MAX_LIFE: Final = 86_400
#: The longest life of a credential without ``jti``, which can be replayed while it lives. The SDKs that write no
#: ``jti`` give theirs 3 to 5 minutes.
MAX_LIFE_WITHOUT_JTI: Final = 600
_MAX_JTI: Final = 255
_END_OF_TIME: Final = 1e11
# The claims of a client's token, which a server's credential never has.
_CLIENT_CLAIMS: Final = ("scope", "session_id", "role")
# The claims of the service's tokens for users, in any of its products; an application's credential has none of them.
_USER_CLAIMS: Final = ("sub", "subject", "acl")


class Server(NamedTuple):
    """A server that makes a call.

    :param id: its API key, or its application's id.
    :param api_key: the project whose sessions it may create and moderate.
    """

    id: str
    api_key: str


class ServerCredential(NamedTuple):
    """A verified credential.

    :param server: the server that makes the call.
    :param name: the single-use id of the credential; None if it has no ``jti``.
    :param until: the time after which the credential is refused, in Unix seconds.
    """

    server: Server
    name: str | None
    until: float


class ServerCredentials:
    """Verifies the credentials of a kit's projects, and of its application.

    :param projects: the projects with an API secret.
    :param application: the application, if there is one.
    :param first: the API key of the kit's first project, whose sessions the application shares.
    :param leeway: the seconds that clocks may differ by.
    """

    __slots__ = ("_application", "_first", "_leeway", "_projects")

    def __init__(self, projects: Iterable[Issuer], application: Issuer | None, first: str, leeway: float) -> None:
        self._projects = {project.id: _Codecs(project) for project in projects}
        self._application = None if application is None else (application.id, _Codecs(application))
        self._first = first
        self._leeway = leeway

    @property
    def takes_bearers(self) -> bool:
        """Whether there is an application, whose servers send a bearer token."""
        return self._application is not None

    @property
    def takes_header(self) -> bool:
        """Whether there is a project, whose servers send the header."""
        return bool(self._projects)

    @property
    def takes_secrets(self) -> bool:
        """Whether there is a project, whose servers may show its API secret; see :meth:`of_secret`."""
        return bool(self._projects)

    def recognizes(self, headers: Mapping[str, str]) -> bool:
        """Whether a request has a server's credential, good or not, where a client's token would do as well."""
        if self._projects and headers.get(_HEADER) is not None:
            return True
        if self._application is None:
            return False
        try:
            bearer = _bearer(headers)
            claims = {} if bearer is None else claims_in(jws.split(jws.raw_token(bearer))[2])
        except (InvalidServerCredential, MalformedToken):
            return False
        # As both kinds have the application's id, what tells them apart is what a client's token has besides.
        return "application_id" in claims and claims.keys().isdisjoint(_CLIENT_CLAIMS)

    def of_secret(self, api_key: str, secrets: Iterable[bytes]) -> Server:
        """The server that shows a project's API key with its API secret; every secret that verifies is good.

        :param secrets: the secret, in each of the ways in which it can be read.
        :raises InvalidServerCredential: unless one of them is the project's.
        """
        project = self._projects.get(api_key)
        # Each is compared with each, so that the time tells neither which API keys there are, nor which secret it was.
        keys = (project or next(iter(self._projects.values()))).issuer.ring.secrets
        fits = sum(key.is_made_of(secret) for secret in secrets for key in keys)
        if project is None or not fits:
            raise InvalidServerCredential("the API key, or the API secret with it, is none of this service's")
        return Server(api_key, api_key)

    def read(self, headers: Mapping[str, str], now: float) -> ServerCredential:
        """Verify the credential in a request's headers.

        :param now: in Unix seconds.
        :raises InvalidServerCredential: says why there is no valid credential.
        """
        in_header, bearer = headers.get(_HEADER), _bearer(headers)
        if in_header is not None and "," in in_header:  # web servers join a repeated header by a comma
            raise InvalidServerCredential(f"the request has {HEADER} more than once; send one")
        if in_header is not None and bearer is not None:
            raise InvalidServerCredential(f"the request has a credential in {HEADER} and a bearer's; send one of them")
        if in_header is not None and self._projects:
            return self._of_project(in_header.strip(" \t"), now)
        if bearer is not None and self._application is not None:
            return self._of_application(*self._application, bearer, now)
        if not self._projects and self._application is None:
            raise InvalidServerCredential("this route is for servers, and this service knows no project of theirs")
        raise InvalidServerCredential(f"this route is for servers: send {self._expected}")

    @property
    def _expected(self) -> str:
        ways = [f"{HEADER} with a JWT that the API secret signs"] if self._projects else []
        if self._application is not None:
            ways.append("Authorization: Bearer with a JWT that the application's private key signs")
        return ", or ".join(ways)

    def _of_project(self, token: str, now: float) -> ServerCredential:
        named = _issuer(token)
        project = self._projects.get(named or "")
        # A key is tried in every case, so that an unknown API key takes as long as a bad signature.
        codecs = project or next(iter(self._projects.values()))
        unknown = f"its iss, {shown_key(named)}, is none of this service's API keys: use a project's, not the account's"
        try:
            header, claims = codecs.open(token)
        except (InvalidToken, ValueError) as error:
            raise _refused(HEADER, _problem(error) if project or named is None else unknown) from None
        if named is None or project is None:
            raise _refused(HEADER, unknown)
        kinds = [place["ist"] for place in (header, claims) if "ist" in place]
        if not kinds or any(kind != "project" for kind in kinds):
            raise _refused(HEADER, "its ist is not 'project': use a project's key and secret, not the account's")
        return self._checked(HEADER, Server(named, named), claims, now)

    def _of_application(self, application_id: str, codecs: _Codecs, token: str, now: float) -> ServerCredential:
        try:
            _, claims = codecs.open(token)
        except (InvalidToken, ValueError) as error:
            raise _refused(_BEARER, _problem(error)) from None
        if claims.get("application_id") != application_id:
            raise _refused(_BEARER, "its application_id is not this service's")
        for name in _USER_CLAIMS:
            if name in claims:
                raise _refused(_BEARER, f"it has a {name}, so it is a user's token, and no server's credential")
        return self._checked(_BEARER, Server(application_id, self._first), claims, now)

    def _checked(self, place: str, server: Server, claims: dict[str, Any], now: float) -> ServerCredential:
        for name in _CLIENT_CLAIMS:
            if name in claims:
                raise _refused(place, f"it has a {name}, so it is a client's token, and no server's credential")
        if "aud" in claims:
            raise _refused(place, "it has an aud, so it is for somebody else")
        issued_at, expires_at = _time(place, claims, "iat"), _time(place, claims, "exp")
        clock = f"now is {moment(now)} by this server's clock: compare the two servers' clocks"
        if issued_at > now + self._leeway or ("nbf" in claims and _time(place, claims, "nbf") > now + self._leeway):
            raise _refused(place, f"it is from the future, issued at {moment(issued_at)}; {clock}")
        if now >= expires_at + self._leeway:
            raise _refused(place, f"it expired at {moment(expires_at)}; {clock}")
        if expires_at - issued_at > MAX_LIFE:
            raise _refused(place, f"its exp is more than {MAX_LIFE} seconds after its iat")
        once = _name(place, server, claims)
        # Without a jti it is not recorded: an SDK's credentials within one second are equal, byte for byte.
        if once is None and expires_at - issued_at > MAX_LIFE_WITHOUT_JTI:
            raise _refused(
                place,
                f"it has no jti, and its exp is more than {MAX_LIFE_WITHOUT_JTI} seconds after its iat: it could be "
                "repeated for all that time; give each a jti of its own, or an earlier exp",
            )
        return ServerCredential(server, once, expires_at + self._leeway)


class _Codecs:
    """The codecs of one issuer, with and without ``typ``: one SDK writes none."""

    __slots__ = ("issuer", "typed", "untyped")

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.typed = jws.Codec(issuer)
        self.untyped = jws.Codec(issuer, typ=None)

    def open(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Verify the signature of a credential, and return its header and claims.

        :raises InvalidToken: if the signature is wrong.
        :raises ValueError: if the claims are no strict JSON.
        """
        raw = jws.raw_token(token)
        header = jws.read_header(jws.split(raw)[1])
        codec = self.typed if "typ" in header else self.untyped
        return header, strict_json.loads(codec.verify(raw))


def _issuer(token: str) -> str | None:
    """The API key in a credential, unverified; None if it has none."""
    try:
        return OpenTokFormat.issuer_of(jws.raw_token(token))
    except InvalidToken:
        return None


def _problem(error: Exception) -> str:
    return str(error) if isinstance(error, InvalidToken) else f"its payload is malformed: {error}"


def _bearer(headers: Mapping[str, str]) -> str | None:
    try:
        return bearer_of(headers.get("authorization"))
    except MissingCredential:
        return None
    except RolecallError as error:
        raise InvalidServerCredential(str(error)) from None


def _time(place: str, claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _END_OF_TIME:
        raise _refused(place, f"its {name} is missing, or no number of Unix seconds")
    return value


def _name(place: str, server: Server, claims: dict[str, Any]) -> str | None:
    jti = claims.get("jti")
    if jti is None:
        return None
    if isinstance(jti, bool) or not isinstance(jti, str | int | float) or not 0 < len(str(jti)) <= _MAX_JTI:
        raise _refused(place, f"its jti is not 1 to {_MAX_JTI} characters")
    return hashlib.sha256(f"server credential\n{server.id}\n{jti}".encode("utf-8", "replace")).hexdigest()


def _refused(place: str, problem: str) -> InvalidServerCredential:
    return InvalidServerCredential(f"{place} is refused: {problem}")

"""The kit behind a client: its own, or one that was passed in."""

from __future__ import annotations

import os
import re
from typing import Any, Final

from ..errors import ConfigurationError
from ..formats import TokenFormat
from ..formats.t1 import T1Format
from ..keys import HMACKey, KeyRing, problem_with
from ..keys.issuers import Issuer
from ..kit import Rolecall
from ..kit.environment import KEY_ARGUMENTS, read_environment
from ..session_ids import OpenTokIds
from ..sessions import MediaMode
from ..wording import kind, shown

_HOOK_TIMEOUT: Final = 10.0
_MAX_HOOK_TIMEOUT: Final = 300.0
_CREDENTIALS: Final = (*KEY_ARGUMENTS, "keys_file", "keys_key")


def own_kit(api_key: Any, api_secret: str | bytes | None, remote: object, timeout: float | None) -> Rolecall:
    """Make a kit with these credentials, with no other project, and otherwise configured by the environment.

    :param remote: the plugin that keeps its sessions at a service, or None.
    :param timeout: the time of a call to that service, in seconds.
    """
    options = read_environment(os.environ)
    for name in _CREDENTIALS:
        options.pop(name, None)
    if remote is not None:
        options["plugins"] = [*options.get("plugins", ()), remote]
        # The connector has its own time limit, which must come first, because its errors say more.
        options["hook_timeout"] = min(_MAX_HOOK_TIMEOUT, (timeout or 0) + _HOOK_TIMEOUT)
    try:
        if is_private_key(api_key, api_secret):
            return Rolecall(application_id=api_key, private_key=api_secret, **options)
        return Rolecall(api_key, api_secret, **options)
    finally:
        del api_secret


_FILE: Final = re.compile(r"[.][a-zA-Z0-9_]+$")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_private_key(api_key: object, api_secret: object) -> bool:
    """Whether these are an application's credentials. Like the SDK, it takes a text with an extension for a path."""
    text = api_secret.decode("utf-8", "replace") if isinstance(api_secret, bytes) else api_secret
    if not isinstance(text, str):
        return False
    is_application = isinstance(api_key, str) and _UUID.fullmatch(api_key) is not None
    return "-----BEGIN" in text or (is_application and _FILE.search(text) is not None)


def check_kit(kit: object, api_key: object, api_secret: object, api_url: object) -> None:
    """Refuse a kit that conflicts with the client's other arguments.

    :raises ConfigurationError: says which argument.
    """
    try:
        if not isinstance(kit, Rolecall):
            raise ConfigurationError(f"kit is {shown(kit)}; expected a rolecall.Rolecall(…)")
        if api_url is not None:
            raise ConfigurationError(
                "pass api_url or kit, not both: a kit creates its sessions at a service with a plugin of its own; "
                "see rolecall.connector"
            )
        if not isinstance(api_key, str) or api_key not in kit.api_keys:
            raise ConfigurationError(f"api_key is {kind(api_key)}, and none of the kit's: {', '.join(kit.api_keys)}")
        if api_secret is not None and not _is_secret_of(kit, api_key, api_secret):
            raise ConfigurationError("api_secret is not the kit's: pass that, or None")
    finally:
        del api_secret


def _is_secret_of(kit: Rolecall, api_key: str, api_secret: object) -> bool:
    """Whether ``api_secret`` made the tags in this project's session ids."""
    state = kit.engine.state
    if problem_with(api_secret):
        return False
    key = HMACKey(api_secret)  # type: ignore[arg-type]
    made = state.session_ids.make(MediaMode.RELAYED, state.clock(), api_key)
    return OpenTokIds(Issuer(api_key, KeyRing([key]))).accepts(made)


def format_of(kit: Rolecall, *, jwt: bool) -> TokenFormat | None:
    """The format in which the kit mints JWTs, or T1; None if the kit lacks it."""
    state = kit.engine.state
    t1 = state.formats.get("t1")
    if not jwt:
        return t1
    return state.mint if state.mint is not t1 else next((one for one in state.formats.values() if one is not t1), None)


def own_t1(kit: Rolecall, api_secret: str | bytes) -> TokenFormat:
    """The format T1 for a client's own kit. The kit need not accept T1: such a token is for another service."""
    try:
        key = HMACKey(api_secret)
    finally:
        del api_secret
    return T1Format([Issuer(kit.api_key, KeyRing([key]))], kit.engine.state.rules)

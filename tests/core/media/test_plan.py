"""What changes for an app that moves to another media service."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from rolecall import Capability, Role
from rolecall.media import BACKENDS, Jitsi, LiveKit, MediaBackend, OpenTok, find_backend
from rolecall.media.plan import ACTS, Change, plan
from rolecall.roles import STANDARD_ROLES

OBSERVER = Role("observer", {Capability.CONNECT, Capability.SUBSCRIBE}, wire_name="subscriber")


class Everyone(MediaBackend):
    """A service that makes a participant of everybody, and cannot be asked for much."""

    name = "everyone"
    shortest_life, longest_life = 1800, 7200
    longest_identity, longest_room = 35, 63
    always_granted = frozenset({Capability.SUBSCRIBE, Capability.PUBLISH, Capability.SIGNAL})
    acts = MappingProxyType({"signal": "not done: it has no such thing", "mute_all": "not done"})
    opens_rooms = True

    def __init__(self, url: str, word: str, **settings: Any) -> None:
        super().__init__(url, **settings)

    @property
    def service(self) -> object:
        return self

    def token_format(self, rules: Any) -> Any:
        raise NotImplementedError


class Silent(MediaBackend):
    """A service of which nobody says how to act in it."""

    name = "silent"

    def token_format(self, rules: Any) -> Any:
        raise NotImplementedError


def changes(source: type[MediaBackend], target: type[MediaBackend], *roles: Role) -> dict[str, Change]:
    return {f"{one.part} {one.subject}": one for one in plan(source, target, roles or STANDARD_ROLES)}


def test_nothing_changes_from_a_service_to_itself():
    same = [one for one in plan(LiveKit, LiveKit, STANDARD_ROLES) if one.part != "setting"]
    assert not any(one.is_one or one.advice for one in same)
    assert {one.subject for one in same if one.part == "act"} == set(ACTS)


def test_a_role_that_the_other_service_cannot_hold_is_named_with_what_it_would_grant():
    found = changes(LiveKit, Everyone, *STANDARD_ROLES, OBSERVER)
    for role, wider in (
        ("subscriber", "publish, signal"),
        ("observer", "publish, signal"),
        ("publisheronly", "signal, subscribe"),
    ):
        change = found[f"role {role}"]
        assert (change.before, change.after) == ("as it is", f"would grant {wider}, too")
        assert "accept_wider names it" in change.advice
    for role in ("publisher", "moderator"):
        assert not found[f"role {role}"].is_one
    assert changes(Everyone, LiveKit)["role subscriber"].advice == ""


def test_an_act_that_is_not_done_there_has_an_advice():
    found = changes(LiveKit, Everyone)
    assert found["act signal"][2:] == ("done", "not done: it has no such thing", "send it by the app's own channel")
    assert found["act mute_all"].advice == "mute the streams that list_streams has, one by one"
    assert not found["act end_session"].is_one
    assert found["act signal"].is_one
    assert changes(Everyone, LiveKit)["act signal"][2:] == ("not done: it has no such thing", "done", "")


def test_a_class_without_a_service_does_no_act_and_says_why():
    found = changes(LiveKit, Silent)
    assert {found[f"act {act}"].after for act in ACTS} == {"not done: its class has no service that acts"}
    assert changes(Silent, LiveKit)["act list_streams"].after == "done"


def test_a_setting_that_another_may_stand_for_is_told_with_that():
    told = changes(LiveKit, Jitsi)["setting app_secret or private_key"]
    assert (told.after, told.is_one) == ("one is needed", True)
    assert "ROLECALL_JITSI_APP_SECRET or ROLECALL_JITSI_PRIVATE_KEY" in told.advice


def test_limits_and_settings_are_told():
    found = changes(LiveKit, Everyone)
    assert found["limit life of a ticket"][2:4] == ("60 seconds, at most 30 days", "30 minutes, at most 2 hours")
    assert found["limit id of an actor"][2:] == ("256 bytes", "35 bytes", "longer ids of actors get no ticket")
    assert found["limit name of a room"][2:4] == ("256 bytes", "63 bytes")
    assert found["limit rooms"][2:4] == ("opened by the service", "opened by the kit")
    assert changes(LiveKit, OpenTok)["limit rooms"].after == "created with their sessions, which have the service's ids"
    assert {name for name in found if name.startswith("setting")} == {"setting url", "setting word"}
    assert found["setting word"].advice == "set ROLECALL_EVERYONE_WORD, or ROLECALL_EVERYONE_WORD_FILE"


def test_what_a_backend_says_of_its_acts_are_acts():
    for name in BACKENDS:
        backend = find_backend(name)
        assert backend is not None
        assert set(backend.acts) <= set(ACTS), name
        assert backend.name == name

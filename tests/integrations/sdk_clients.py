"""The public SDKs, each with the same methods, so that one test speaks for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import opentok
from vonage_http_client import Auth, HttpClient
from vonage_http_client.http_client import HttpClientOptions
from vonage_video import TokenOptions, Video
from vonage_video.models import (
    ArchiveMode,
    CreateArchiveRequest,
    CreateBroadcastRequest,
    MediaMode,
    SessionOptions,
    SignalData,
    StreamLayout,
    StreamLayoutOptions,
)

from .sdk_site import API_KEY, APPLICATION

NodeCall = Callable[..., Any]


class OpenTokPython:
    """``opentok`` from PyPI."""

    #: What its refusal of bad credentials looks like, and its error where the service cannot do something; its calls
    #: that mute catch that themselves, and return nothing.
    refused = r"invalid credentials|AuthError|OpenTokException: There was an error|RequestError.*, 403\)"
    unable = r"RequestError: \('An unexpected error occurred\.?', 501\)|None"
    gone = "ForceDisconnectError: The client .* is not connected"
    #: Its error for what is not served, and what of that it says.
    unserved = r"RequestError: \('(An unexpected error occurred|OpenTok server error\.)\.?', 501\)"
    #: Its error for a signal that is too long; it has a message of its own for 413, which it never comes to.
    too_long = r"RequestError: \('An unexpected error occurred\.', 413\)"
    e2ee = archives = True

    def __init__(self, url: str, secret: str, _: NodeCall) -> None:
        self._client = opentok.Client(API_KEY, secret, url, timeout=20)

    def create(self, media_mode="relayed", archive_mode="manual", location=None, **options):
        media, archive = opentok.MediaModes[media_mode], opentok.ArchiveModes[archive_mode]
        return self._client.create_session(location, media, archive, **options).session_id

    def mint(self, session_id, role="publisher", expire_time=None, data=None, layout=()):
        return self._client.generate_token(session_id, opentok.Roles[role], expire_time, data, list(layout))

    def signal(self, session_id, type, data, connection_id=None):
        self._client.send_signal(session_id, {"type": type, "data": data}, connection_id)
        return "sent"

    def disconnect(self, session_id, connection_id):
        self._client.force_disconnect(session_id, connection_id)
        return "ended"

    def mute(self, session_id, stream_id):
        return self._client.mute_stream(session_id, stream_id)

    def mute_all(self, session_id, excluded):
        return self._client.mute_all(session_id, excluded)

    def stop_muting(self, session_id):
        return self._client.disable_force_mute(session_id)

    def archive(self, session_id):
        return self._client.start_archive(session_id)

    def broadcast(self, session_id):
        return self._client.start_broadcast(session_id, {"outputs": {"hls": {}}})

    def lay_out(self, session_id, stream_id):
        return self._client.set_stream_class_lists(session_id, [{"id": stream_id, "layoutClassList": ["full"]}])

    def streams(self, session_id):
        return [stream.attrs() for stream in self._client.list_streams(session_id)]

    def stream(self, session_id, stream_id):
        return self._client.get_stream(session_id, stream_id).attrs()


class OpenTokNode:
    """``opentok`` from npm."""

    refused = "Invalid API key or secret"
    unable = "Unexpected response from OpenTok.*no_media_service"
    gone = "Session or Connection not found"
    unserved = "Unexpected response from OpenTok.*{what}: not served here"
    too_long = "Unexpected response from OpenTok.*data of the signal has 8194 bytes; at most 8192 are carried"
    e2ee = archives = True
    _key, _expiry = API_KEY, "expireTime"

    def __init__(self, url: str, secret: str, node_call: NodeCall) -> None:
        self._node_call, self._options = node_call, {"url": url, "key": self._key, "secret": secret}

    def _call(self, method, *args, back=True):
        return self._node_call("opentok", method, *args, back=back, **self._options)

    def create(self, media_mode="relayed", archive_mode="manual", location=None, **options):
        asked = {"mediaMode": media_mode, "archiveMode": archive_mode, "location": location, **camel_case(options)}
        return self._call("createSession", given(asked))["sessionId"]

    def mint(self, session_id, role=None, expire_time=None, data=None, layout=()):
        asked = {"role": role, self._expiry: expire_time, "data": data, "initialLayoutClassList": list(layout) or None}
        return self._call("generateToken", session_id, given(asked), back=False)

    def signal(self, session_id, type, data, connection_id=None):
        return self._call("signal", session_id, connection_id, {"type": type, "data": data})

    def disconnect(self, session_id, connection_id):
        return self._call("forceDisconnect", session_id, connection_id)

    def mute(self, session_id, stream_id):
        return self._call("forceMuteStream", session_id, stream_id)

    def mute_all(self, session_id, excluded):
        return self._call("forceMuteAll", session_id, {"excludedStreams": excluded})

    def stop_muting(self, session_id):
        return self._call("disableForceMute", session_id)

    def archive(self, session_id):
        return self._call("startArchive", session_id, {})

    def broadcast(self, session_id):
        return self._call("startBroadcast", session_id, {"outputs": {"hls": {}}})

    def lay_out(self, session_id, stream_id):
        return self._call("setStreamClassLists", session_id, [{"id": stream_id, "layoutClassList": ["full"]}])

    def streams(self, session_id):
        return self._call("listStreams", session_id)

    def stream(self, session_id, stream_id):
        # Its own getStream parses the JSON once more that this has parsed, and fails whatever the service is.
        return self._call("client.getStream", session_id, stream_id)


class OpenTokNodeApplication(OpenTokNode):
    """``opentok`` from npm with an application's private key."""

    _key, _expiry = APPLICATION, "expire_time"


class VonagePython:
    """``vonage-video`` from PyPI; it speaks TLS alone."""

    refused = "ForbiddenError: 403 response"
    unable = "HttpRequestError: 501 response"
    gone = "NotFoundError: 404 response"
    unserved = "(?s)HttpRequestError: 501 response.*{what}: not served here"
    too_long = "(?s)HttpRequestError: 413 response.*data of the signal has 8194 bytes; at most 8192 are carried"
    e2ee, archives = True, False

    def __init__(self, url: str, private_key: str, _: NodeCall) -> None:
        auth = Auth(application_id=APPLICATION, private_key=private_key)
        options = HttpClientOptions(video_host=url.removeprefix("https://"), timeout=20)
        self._video = Video(HttpClient(auth, options))

    def create(self, media_mode="relayed", archive_mode="manual", location=None, **options):
        media, archive = MediaMode[media_mode.upper()], ArchiveMode[archive_mode.upper()]
        asked = SessionOptions(media_mode=media, archive_mode=archive, location=location, **options)
        return self._video.create_session(asked).session_id

    def create_plain(self):
        return self._video.create_session().session_id

    def mint(self, session_id, role=None, expire_time=None, data=None, layout=()):
        asked = {"role": role, "exp": expire_time, "connection_data": data, "initial_layout_class_list": list(layout)}
        return self._video.generate_client_token(TokenOptions(session_id=session_id, **given(asked))).decode()

    def signal(self, session_id, type, data, connection_id=None):
        return self._video.send_signal(session_id, SignalData(type=type, data=data), *given([connection_id]))

    def disconnect(self, session_id, connection_id):
        return self._video.disconnect_client(session_id, connection_id)

    def mute(self, session_id, stream_id):
        return self._video.mute_stream(session_id, stream_id)

    def mute_all(self, session_id, excluded):
        return self._video.mute_all_streams(session_id, *([excluded] if excluded else []))

    def stop_muting(self, session_id):
        return self._video.disable_mute_all_streams(session_id)

    def archive(self, session_id):
        return self._video.start_archive(CreateArchiveRequest(session_id=session_id))

    def broadcast(self, session_id):
        return self._video.start_broadcast(CreateBroadcastRequest(session_id=session_id, outputs={"hls": {}}))

    def lay_out(self, session_id, stream_id):
        layout = StreamLayout(id=stream_id, layout_class_list=["full"])
        return self._video.change_stream_layout(session_id, StreamLayoutOptions(items=[layout]))

    def streams(self, session_id):
        return [camel_case(stream.model_dump()) for stream in self._video.list_streams(session_id)]

    def stream(self, session_id, stream_id):
        return camel_case(self._video.get_stream(session_id, stream_id).model_dump())


class VonageNode:
    """``@vonage/video`` from npm."""

    refused = "Request failed with status code 403"
    unable = "Request failed with status code 501"
    gone = "Request failed with status code 404"
    unserved = "Request failed with status code 501"
    too_long = "Request failed with status code 413"
    e2ee = archives = False

    def __init__(self, url: str, private_key: str, node_call: NodeCall) -> None:
        self._node_call, self._options = node_call, {"url": url, "key": APPLICATION, "secret": private_key}

    def _call(self, method, *args):
        return self._node_call("vonage", method, *args, **self._options)

    def create(self, media_mode="relayed", archive_mode="manual", location=None):
        preference = {"relayed": "enabled", "routed": "disabled"}[media_mode]
        asked = given({"mediaMode": preference, "archiveMode": archive_mode, "location": location})
        return self._call("createSession", asked)["sessionId"]

    def create_plain(self):
        return self._call("createSession")["sessionId"]

    def mint(self, session_id, role=None, expire_time=None, data=None, layout=()):
        asked = {"role": role, "expireTime": expire_time, "data": data, "initialLayoutClassList": list(layout) or None}
        return self._call("generateClientToken", session_id, given(asked))

    def signal(self, session_id, type, data, connection_id=None):
        return self._call("sendSignal", {"type": type, "data": data}, session_id, *given([connection_id]))

    def disconnect(self, session_id, connection_id):
        return self._call("disconnectClient", session_id, connection_id)

    def mute(self, session_id, stream_id):
        return self._call("muteStream", session_id, stream_id)

    def mute_all(self, session_id, excluded):
        return self._call("forceMuteAll", session_id, *([excluded] if excluded else []))

    def stop_muting(self, session_id):
        return self._call("disableForceMute", session_id)

    def archive(self, session_id):
        return self._call("startArchive", session_id, {})

    def broadcast(self, session_id):
        return self._call("startBroadcast", session_id, {"outputs": {"hls": {}}})

    def lay_out(self, session_id, stream_id):
        return self._call("setStreamClassLists", session_id, [{"id": stream_id, "layoutClassList": ["full"]}])

    def streams(self, session_id):
        return self._call("getStreamInfo", session_id)["items"]

    def stream(self, session_id, stream_id):
        return self._call("getStreamInfo", session_id, stream_id)


#: Each SDK, and whether it has an application's private key for a secret.
SDKS: dict[Any, bool] = {
    OpenTokPython: False,
    OpenTokNode: False,
    OpenTokNodeApplication: True,
    VonagePython: True,
    VonageNode: True,
}


def given(options):
    """The options that were given."""
    if isinstance(options, list):
        return [value for value in options if value is not None]
    return {name: value for name, value in options.items() if value is not None}


def camel_case(options: dict[str, Any]) -> dict[str, Any]:
    def named(name: str) -> str:
        first, *rest = name.split("_")
        return first + "".join(part.capitalize() for part in rest)

    return {named(name): value for name, value in options.items()}

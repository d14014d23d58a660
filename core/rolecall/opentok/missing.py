"""Names of the SDK's client that this one lacks, with alternatives."""

from __future__ import annotations

from typing import Final

_GROUPS: Final = {
    "archives": "start_archive stop_archive delete_archive get_archive get_archives list_archives add_archive_stream "
    "remove_archive_stream set_archive_layout",
    "broadcasts": "start_broadcast stop_broadcast get_broadcast add_broadcast_stream remove_broadcast_stream "
    "set_broadcast_layout",
    "renders": "start_render get_render stop_render list_renders",
    "captions": "start_captions stop_captions",
    "telephony": "dial play_dtmf",
    "audio over WebSockets": "connect_audio_to_websocket validate_websocket_options",
    "layouts": "set_stream_class_lists",
}
_REQUESTS: Final = "its requests are the connector's own; see rolecall.connector"

#: Advice for each missing name.
ELSEWHERE: Final = {
    **{
        name: f"for {group} keep the opentok package beside this one: "
        f"opentok.Client(api_key, api_secret, api_url).{name}"
        for group, names in _GROUPS.items()
        for name in names.split()
    },
    **dict.fromkeys(
        ("endpoints", "get_headers", "headers", "get_json_headers", "json_headers", "jwt_livetime", "user_agent"),
        _REQUESTS,
    ),
    "append_to_user_agent": _REQUESTS,
    "api_secret": "a client does not give away its secret; take it from where the app has it",
}

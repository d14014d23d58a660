"""The SDK's stream object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class Stream:
    """A stream of a session.

    :param kwargs: the media service's description; missing members are None.
    """

    def __init__(self, kwargs: Mapping[str, Any]) -> None:
        #: Its id.
        self.id = kwargs.get("id")
        #: ``"camera"``, ``"screen"`` or ``"custom"``.
        self.videoType = kwargs.get("videoType")
        #: The name that its publisher gave it.
        self.name = kwargs.get("name")
        #: Its layout classes.
        self.layoutClassList = kwargs.get("layoutClassList")

    def attrs(self) -> dict[str, Any]:
        """Its attributes by name."""
        return dict(vars(self))

    def json(self) -> str:
        """Its attributes as JSON."""
        return json.dumps(self.attrs(), indent=4)

    def __repr__(self) -> str:
        return f"<Stream id={self.id!r}>"

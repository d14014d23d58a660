"""The SDK's list of streams."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from .exceptions import GetStreamError
from .messages import plain
from .stream import Stream


class StreamList:
    """The streams of a session.

    :param values: the number of streams as ``count``, their descriptions as ``items``.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        #: The number of streams.
        self.count = values.get("count")
        #: The streams.
        self.items = [Stream(item) for item in values.get("items", [])]

    def json(self) -> str:
        """The number of streams and their attributes as JSON."""
        return json.dumps(self, default=vars, sort_keys=True, indent=4)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: int) -> Stream:
        return self.items[key]

    def __setitem__(self, key: object, item: object) -> NoReturn:
        raise GetStreamError(
            f"Cannot set item {plain(item)} for key {plain(key)} in Archive object: a list of streams does not change"
        )

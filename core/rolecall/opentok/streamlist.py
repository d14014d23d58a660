"""What the SDK says of the streams of a session."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from .exceptions import GetStreamError
from .messages import plain
from .stream import Stream


class StreamList:
    """The streams of a session.

    :param values: their number as ``count``, their descriptions as ``items``.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        #: How many there are.
        self.count = values.get("count")
        #: Each of them.
        self.items = [Stream(item) for item in values.get("items", [])]

    def json(self) -> str:
        """Their number and their attributes as JSON."""
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

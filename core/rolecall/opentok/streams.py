"""What the SDK says of a session's streams, and of muting them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from .exceptions import GetStreamError
from .messages import plain


class Stream:
    """A stream of a session.

    :param kwargs: its description, as the media service gives it; what it leaves out is None.
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


@dataclass(frozen=True, slots=True)
class Done:
    """What muting returns: it is true, and has what can be relied on of the response that the SDK returns."""

    status_code: int = 200
    ok: bool = True

"""Documents: short texts with a name and a version, changed by compare-and-set."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from . import MaybeAwaitable

#: The most characters of a document's name.
MAX_NAME: Final = 200
#: The most bytes of a document's content, in UTF-8.
MAX_CONTENT: Final = 262_144


class Documents(Protocol):
    """What a store has that keeps documents: the rings of ``Rolecall(keys_key=…)``, and ids that a media service gives.

    The methods are plain functions or ``async def``, durable and positional, as those of
    :class:`~rolecall.stores.Store`. :meth:`~rolecall.stores.upkeep.Upkeep.forget` removes no document.
    """

    @abstractmethod
    def get_document(self, name: str, /) -> MaybeAwaitable[tuple[int, str] | None]:
        """The version and the content of a document, from the database itself; None if there is none.

        :param name: at most 200 characters.
        """

    @abstractmethod
    def put_document(self, name: str, content: str, version: int, /) -> MaybeAwaitable[bool]:
        """Replace a document, unless somebody else has changed it. Its version is ``version + 1`` then.

        Of concurrent callers with different contents exactly one gets True.

        :param content: at most 262,144 bytes in UTF-8.
        :param version: the version that is replaced; 0 for a new document.
        :returns: whether the document has this content and the next version: because it was written, or because the
            same call had written it before.
        """

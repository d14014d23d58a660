"""The base of keys that verify: a public key alone, or the public half of a private one."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from .key import Concealed


class PublicKey(Concealed):
    """A key that verifies; its subclasses in :mod:`~rolecall.keys.ec` and beside it name the algorithm."""

    __slots__ = ("_public",)

    _algorithm: ClassVar[str]

    _public: Any

    @classmethod
    def of(cls, public: Any, kid: str) -> PublicKey:
        """The key for a public key of ``cryptography``.

        :param kid: at most 128 ASCII characters; not checked.
        """
        made = cls.__new__(cls)
        made._prepare(public, kid)
        return made

    def _prepare(self, public: Any, kid: str | None) -> None:
        self._public = public
        self.algorithm = self._algorithm
        self.kid = kid

    def sign(self, message: bytes) -> bytes:
        """See :class:`Key`; only a private key can."""
        _refuse()

    def verify(self, message: bytes, signature: bytes) -> bool:
        """See :class:`Key`."""
        raise NotImplementedError

    def derive(self, purpose: str) -> bytes:
        """See :class:`Key`; only a private key can."""
        _refuse()

    def public_jwk(self) -> dict[str, str]:
        """See :class:`Key`."""
        raise NotImplementedError

    def public_pem(self) -> str:
        """The public half as PEM text (RFC 7468, section 13)."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # not free to import

        pem: bytes = self._public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem.decode()


def _refuse() -> NoReturn:
    raise TypeError("a public key only verifies; the private key is needed for this")

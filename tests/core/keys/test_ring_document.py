"""Documents with rings: what is written can be read again, whatever its size."""

from __future__ import annotations

import json

import pytest

from rolecall.errors import InvalidKey
from rolecall.keys import HMACKey
from rolecall.keys.ring_document import RingDocument, text_of
from rolecall.keys.rotation import added, retired

from .test_ring_file import NOW, PROJECT, SECRETS


def entry(issuer: str) -> dict[str, str]:
    return {"secret": f"{issuer:0>4}{SECRETS[0]}", "state": "signing"}


def test_a_document_of_many_issuers_is_read_again():
    document = RingDocument()
    text = text_of({str(number): (entry(str(number)),) for number in range(500)})
    rings = document.parse(text.encode())
    _, text = document.changed(rings, PROJECT, lambda ring: added(ring, HMACKey(SECRETS[0]), NOW))
    rings = document.parse(text.encode())
    assert len(rings) == 501
    assert [one.state for one in document.entries(rings, "499")] == ["signing"]


def test_more_issuers_than_can_be_read_are_not_written():
    rings = {str(number): () for number in range(1025)}
    with pytest.raises(InvalidKey, match="the rings of 1025 issuers, and 1024 are the most"):
        text_of(rings)


def test_what_was_written_by_hand_stays_as_it_is_beside_a_change():
    document = RingDocument()
    rings = document.parse(json.dumps({"version": 1, "issuers": {"1": [entry("1")], "2": [entry("2")]}}).encode())
    _, text = document.changed(rings, "1", lambda ring: added(ring, HMACKey(SECRETS[1]), NOW))
    assert json.loads(text)["issuers"]["2"] == [entry("2")]


def test_an_issuer_without_a_ring_has_no_entries_and_an_empty_ring_is_wrong():
    document = RingDocument()
    rings = document.parse(b'{"version": 1, "issuers": {"1": []}}')
    assert document.entries(rings, "2") == ()
    with pytest.raises(InvalidKey, match="'1': no key is signing"):
        document.entries(rings, "1")


def test_an_entry_without_its_key_has_no_key():
    document = RingDocument()
    two, _ = document.changed(
        {}, PROJECT, lambda _: added(added((), HMACKey(SECRETS[0]), NOW), HMACKey(SECRETS[1]), NOW)
    )
    entries, text = document.changed({}, PROJECT, lambda _: retired(two, two[1].id, NOW, 0))
    listed = document.entries(document.parse(text.encode()), PROJECT, with_keys=False)
    assert listed == tuple(one._replace(key=None) for one in entries)

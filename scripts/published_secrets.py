"""Make ``core/rolecall/keys/published.bin``: the fingerprints of secrets and keys that are publicly known.

    pip install --no-deps --target build/badsecrets badsecrets
    python scripts/published_secrets.py build/badsecrets/badsecrets/resources

The lists are those of the package ``badsecrets`` on PyPI (GPL-3.0); further folders of lists may follow. Nothing of
them is kept but truncated SHA-256 values, from which no list can be made again.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from rolecall.keys import MIN_SECRET_BYTES
from rolecall.keys.published import FINGERPRINT_BYTES, TABLE, fingerprint, plain

#: SHA-256 of what stands in no list, but in standards, documentation and tests.
FURTHER = (
    # -- secrets
    # the tests of every OpenTok SDK, and the same from zero; decoded and as text
    "798cc90b209d1aab84a7c00ac0557a26e61549f2802fd0988d821bbac0980e7c",
    "d79b3d19fa62b353d54523531c1675eeb98493b26a758fed70dcc4bc9278b3d4",
    "58ee3000e012be3eab0b189e43c12ab826944d982462d343324e63c98f47ab46",
    "1a77b7fec89866d1b530d5fd4d0e4fdfdd42bfdbc5c25d26f31e530d9ee72a02",
    # RFC 7515, appendix A.1, decoded and as text
    "c8ecc9361a05e285f04c26f9572131a6deab07e9e2b865053c6f75a4d8bd2b32",
    "8b1b17a9740c068accab5c3d0d652c8e3cc13206e70bb73b42ea41d4c2de3c12",
    # RFC 7520, section 3.5, decoded and as text
    "73ec74458059c70cae3f0ade8663fe0da1dc4b114ed8cdac75364140b4458a4c",
    "0330b11998cbc9abd5a585e755cb5df2f73f1a5632fdcc2abb19e05e3eceddb9",
    # the Wycheproof test vectors
    "343c4d3fb2fea91ae1192f5ca60f918e64bf4683b2c551cd0820c00ed8ec57bc",
    # the examples of jwt.io
    "465d9ad5d5528ebe287b5dce4fb51620833d09b290e49ddcc70ca6c4a0aea01b",
    "442889744ca6cd77df1c49d07d79f6d7b2bb1fa78d15643dc73b62c39bb37ce3",
    "db6833593279d7373592ef70e51f3daf048c04475739f8ed024b0821fd9e7fde",
    # the FastAPI tutorial
    "570dad43de1af4c925f92c16a68a50936da42b7dd6fdeb24850507a1199aac89",
    "4d0f8dec4515d07a611c502f22adb95c854d943d6122fb8f96c9503b42356bac",
    # a Spring Security tutorial that thousands copied
    "3354cfcf65c7b2e6840ea6f880aede239750cb1d063950c4e8fd9fbf9ec73a32",
    "136cb1c5a79bc9d943efda382fde1bfa26e0e140ff444657cf7fb056e2977b1c",
    # keyboard rows and counting
    "1ea604f64a8a5084cb916142866daf06cdb5f69c716f7ba286dc0c1eb2c2209a",
    "3eb1bd439947eb762998e566ccc2e099c791118b2f40579cc4f7da2b5061b7f9",
    "f6d527e6d01865481134f29788be2afe7fc3c702e1a55d7ceafac5f35199e8dc",
    "e1b85b27d6bcb05846c18e6a48f118e89f0c0587140de9fb3359f8370d0dba08",
    "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd",
    "fdeab9acf3710362bd2658cdc9a29e8f9c757fcf9811603a8c447cd1d9151108",
    # placeholders of configuration files that thousands copied
    "7db85cb9937a2df7b7038963c522e2cd96021c33b7ac36924d44d182edf34526",
    "5fdf298e9a0ca254d541fed33d30e189e7f24c155d8277b7bb5ab4af58486768",
    # -- moduli of RSA keys
    # RFC 7515, appendix A.2
    "26d6872d476b20e7eaa7cc894dcbc03f2347e88fb8cb46066642213cacf257d5",
    # RFC 7520, section 3.4
    "91c2c702c0240040ba2a82a55357ac081cbac4b463632d77efa71d25b2c2b2a2",
    # the Wycheproof test vectors
    "485334f87073ef7df5ac02350e79e86b8261e0d1433b2705a856364a38cc9f1a",
    "a8696928b5b69c9e63f7d52da8d1f50f1d3db3098bcf17263265902aefe62df2",
    "792df356fc6850c8e7840326a94d9ee04fe7ed91bf4436ce94715ef52d3c10c2",
    "c1e39ea6f4d3d966a5fcda9393e33d6e6773d0527804ead9cf25645500120d41",
    # the examples of jwt.io
    "2da8a492573f9cd453d9a68d7a24c62b4c2c8bd0c3497283ff438b606f65e0d3",
    # the tests of Vonage's SDK for Node.js
    "f592e45219dc5b953a3096fcf9b3689888497d2f91a1ad3efdc3db20a769ec3c",
    # -- points of keys on P-256, x and y
    # RFC 7515, appendix A.3, and RFC 7517, appendix A.2
    "a510fba1ddb99100a60c2ebed0702108b3feb3da90b4073e3930e4a9a0b0218b",
    "3258aa2cb08890c8f48708be416496324d2a26ebaa95355686bc5b4cb53df015",
    # the Wycheproof test vectors
    "e3b92cf0e83ef17f5b55bab29fc1a274f6c2a9a0ac6cbe423984bc8735a22993",
    # the examples of jwt.io
    "1e2fe4b5f140447c4e14c9820cd083024e6ea56e52fb95f39689f1de2e8be8eb",
    # Rolecall's own test vectors
    "abf31493a75132196989a66f4c8db362d5af5c07f77218a7c8c419bcfdc438f8",
    "8060f81d795f972ea35e0dcdd64ab9ddcbc72d69c25e4806c81ac430392d41a5",
    "b519707f2e8425e063ffee6ed164f0720bc4b980e2669fbb877336c387416454",
    "534c47969a4f2e6338c555a52d7a5bad2297a71f806dcec43d06dc454e396ab3",
    "135be3f3d092bc84d54f95be93eb9e7810715f6e5251373aae759fd17ab0873f",
    # -- Ed25519 keys
    # RFC 8032, section 7.1; the first is that of RFC 8037, appendix A
    "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9",
    "39f713d0a644253f04529421b9f51b9b08979d08295959c4f3990ee617f5139f",
    "dac073e0123bdea59dd9b3bda9cf6037f63aca82627d7abcd5c4ac29dd74003e",
    "5f9b247e2a654719f198e4f241d6b0df9a1a937a13ef5ef899f64d9285fce224",
    # Rolecall's own test vectors
    "627afd92ba11be21e6f4c76d39dc42f2b2cf4155e6a882b4d6adb04c47e2af0e",
    "6eb530cf880d2e6d87a268c5f771e047555ccfd03607ba0ba3297e5ee9448043",
    "31da0779751f47e043812c6a835a8437549077f4d40d33c42fcbe5b2b1cd9298",
    "cfaa91923044b7e18714d9ffcd867203df17fbb99c34c1a4e504b6a0f8e45443",
    "0597acc8f29fc2c17326b204e76a1f2c196ce36bb9de78771c9b468aa2b8be4d",
)


def main(folders: Iterable[Path]) -> None:
    found = {bytes.fromhex(digest)[:FINGERPRINT_BYTES] for digest in FURTHER}
    for path in (path for folder in folders for path in sorted(folder.iterdir())):
        materials = moduli(path) if "rsakeys" in path.name else secrets(path)
        before = len(found)
        found.update(map(fingerprint, materials))
        print(f"{path.name}: {len(found) - before}")
    Path(TABLE).write_bytes(b"".join(sorted(found)))
    print(f"{len(found)} fingerprints")


def secrets(path: Path) -> Iterator[bytes]:
    """The secrets of a list that are long enough for a kit."""
    yield from (plain(text) for text in _texts(path) if len(text) >= MIN_SECRET_BYTES)


def _texts(path: Path) -> Iterator[bytes]:
    if path.suffix == ".json":
        for entry in json.loads(path.read_text("utf-8")):
            yield from (value.encode() for value in entry.values() if isinstance(value, str))
        return
    for line in path.read_bytes().splitlines():
        # The keys of ASP.NET stand in pairs.
        yield from line.split(b",") if "machinekeys" in path.name else [line]


def moduli(path: Path) -> Iterator[bytes]:
    """The moduli of a list of RSA keys whose line ends are written as two characters."""
    keys = re.finditer(r"-----BEGIN ([A-Z ]+)-----(.*?)-----END", path.read_text("utf-8"), re.DOTALL)
    for kind, body in (match.groups() for match in keys):
        # Some are of another form than the line around them says, and one fits no check of its numbers.
        der = base64.b64decode(body.replace("\\n", ""))
        if "PRIVATE" in kind:
            key = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True).public_key()
        else:
            key = load_der_public_key(der)
        assert isinstance(key, RSAPublicKey)
        n = key.public_numbers().n
        yield n.to_bytes((n.bit_length() + 7) // 8)


if __name__ == "__main__":
    main(map(Path, sys.argv[1:]))

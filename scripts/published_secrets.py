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

"""Mutates real tokens without their key, and shows that none is accepted but the originals, byte for byte.

python tests/fuzz/mutate_tokens.py --count 1000000 --seed 1
"""

from __future__ import annotations

import argparse
import hmac
import json
import random
import sys
import time
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rolecall import Rolecall, RolecallError

sys.path.append(str(Path(__file__).parent.parent))
from sdk_tokens import API_KEY, API_SECRET, resigned

#: A moment at which most of the SDKs' tokens are alive.
NOW = 1_795_186_560.0
VECTORS = Path(__file__).parent.parent / "vectors" / "opentok_tokens.json"

URL_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
STRANGE = "=+/. \n\r\t\0%&:;,\"'{}[]!~\x7f\x80éİıſａ\u200b\u2028\ufeff\ud800😀"
OTHER_ROLES = ("moderator", "publisher", "subscriber", "publisheronly", "Moderator", "admin")
ATTACKERS_KEYS = (b"", b"\0", API_KEY.encode(), b"secret", b"an attacker's key of at least 32 bytes")

Mutator = Callable[[random.Random, str, list[str]], str]


@dataclass
class Report:
    """What became of the mutations.

    :param identical: mutations that came out as one of the originals, and were accepted.
    :param accepted: other mutations that were accepted; there must be none.
    :param refused_originals: originals that were refused; there must be none.
    :param escaped: exceptions that are not the kit's, with the mutation; there must be none.
    :param refusals: how many mutations each error class refused.
    :param mutators: how many mutations each mutator made.
    """

    count: int = 0
    identical: int = 0
    accepted: list[tuple[str, str]] = field(default_factory=list)
    refused_originals: list[str] = field(default_factory=list)
    escaped: list[tuple[str, str, str]] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    mutators: Counter[str] = field(default_factory=Counter)

    @property
    def sound(self) -> bool:
        return not (self.accepted or self.refused_originals or self.escaped)


def run(count: int, seed: int) -> Report:
    """Show ``count`` mutations to a kit. The seed chooses how to mutate; the kit's own tokens are new each time."""
    chance = random.Random(seed)
    with Rolecall(API_KEY, API_SECRET, accept=["opentok", "t1"], clock=lambda: NOW) as kit:
        originals = real_tokens(kit)
        report = Report()
        for _ in range(count):
            name, mutant = mutate(chance, originals)
            report.mutators[name] += 1
            show(kit, mutant, name, mutant in originals, report)
    return report


def real_tokens(kit: Rolecall) -> list[str]:
    """Tokens that are good now: of the SDKs, and of kits in both formats."""
    tokens = []
    for name in ("opentok", "t1"):
        minting = Rolecall(API_KEY, API_SECRET, format=name, clock=lambda: NOW)
        session = minting.create_session()
        tokens += [session.generate_token(role) for role in minting.roles]
        tokens.append(session.generate_token(data="name=Jöhn & Co ~*\n", initial_layout_class_list=["focus", "small"]))
        tokens.append(minting.create_session(media_mode="routed").generate_token(expire_time=NOW + 3600))
        minting.close()
    tokens += [resigned(item["token"]) for item in json.loads(VECTORS.read_text("utf-8"))["tokens"]]
    return [token for token in tokens if accepts(kit, token)]


def accepts(kit: Rolecall, token: str) -> bool:
    try:
        kit.verify_token(token)
    except RolecallError:
        return False
    return True


def show(kit: Rolecall, mutant: str, name: str, is_original: bool, report: Report) -> None:
    report.count += 1
    try:
        kit.verify_token(mutant)
    except RolecallError as error:
        report.refusals[type(error).__name__] += 1
        if is_original:
            report.refused_originals.append(mutant)
    except Exception as error:
        report.escaped.append((name, repr(error), mutant))
    else:
        if is_original:
            report.identical += 1
        else:
            report.accepted.append((name, mutant))


def mutate(chance: random.Random, originals: list[str]) -> tuple[str, str]:
    """One mutation, or a few on top of each other, of one of the originals."""
    token = chance.choice(originals)
    steps = chance.choice((1, 1, 1, 1, 2, 3))
    for _ in range(steps):
        before = token
        for _ in range(5):  # not every mutator has something to change in every token
            mutator = chance.choice(MUTATORS)
            token = mutator(chance, before, originals)
            if token != before:
                break
    return mutator.__name__ if steps == 1 else f"{steps} on top of each other", token


# -- characters ------------------------------------------------------------------------------------


def flip_bit(chance: random.Random, token: str, _: list[str]) -> str:
    place = chance.randrange(len(token)) if token else 0
    return (
        token[:place]
        + "".join(chr(ord(c) ^ 1 << chance.randrange(7)) for c in token[place : place + 1])
        + token[place + 1 :]
    )


def replace_character(chance: random.Random, token: str, _: list[str]) -> str:
    place = chance.randrange(len(token) + 1)
    return token[:place] + chance.choice(URL_ALPHABET) + token[place + 1 :]


def insert_character(chance: random.Random, token: str, _: list[str]) -> str:
    place = chance.choice((0, len(token), chance.randrange(len(token) + 1)))
    return token[:place] + chance.choice(URL_ALPHABET + STRANGE) * chance.choice((1, 1, 4)) + token[place:]


def delete_characters(chance: random.Random, token: str, _: list[str]) -> str:
    place = chance.randrange(len(token) + 1)
    return token[:place] + token[place + chance.choice((1, 1, 2, 3, 4, 40)) :]


def swap_characters(chance: random.Random, token: str, _: list[str]) -> str:
    characters = list(token)
    if characters:
        a, b = chance.randrange(len(characters)), chance.randrange(len(characters))
        characters[a], characters[b] = characters[b], characters[a]
    return "".join(characters)


def swap_case(chance: random.Random, token: str, _: list[str]) -> str:
    place = chance.randrange(len(token) + 1)
    end = chance.choice((place + 1, len(token)))
    return token[:place] + token[place:end].swapcase() + token[end:]


def cut_or_double(chance: random.Random, token: str, originals: list[str]) -> str:
    place = chance.randrange(len(token) + 1)
    other = chance.choice(originals)
    return chance.choice(
        (token[:place], token[place:], token + token[place:], token[:place] + other[place:], token + "," + other)
    )


# -- segments and the encoding of segments ---------------------------------------------------------


def swap_segments(chance: random.Random, token: str, originals: list[str]) -> str:
    """Header, payload and signature of different tokens."""
    parts = token.split(".")
    place = chance.randrange(len(parts))
    donor = chance.choice(originals).split(".")
    parts[place] = donor[place % len(donor)]
    return ".".join(parts)


def shuffle_segments(chance: random.Random, token: str, _: list[str]) -> str:
    parts = token.split(".") + [""] * chance.choice((0, 0, 1))
    chance.shuffle(parts)
    return ".".join(parts)


def drop_signature(_: random.Random, token: str, __: list[str]) -> str:
    return token.rpartition(".")[0] + "."


def spell_segment_otherwise(chance: random.Random, token: str, _: list[str]) -> str:
    """The same bytes in another base64: padded, standard, with unused bits, broken into lines."""
    parts = token.split(".")
    place = chance.randrange(len(parts))
    text = parts[place]
    last = text[-1:]
    neighbour = URL_ALPHABET[(URL_ALPHABET.find(last) + chance.choice((1, 2, 3))) % 64]
    parts[place] = chance.choice(
        (
            text + "=" * (-len(text) % 4),
            text + chance.choice("=A"),
            text.replace("-", "+").replace("_", "/"),
            text[:-1] + neighbour,
            text[:20] + "\n" + text[20:],
            text.rstrip("="),
            text[:-2] + neighbour + "=" if text.endswith("=") else text + "====",
        )
    )
    return ".".join(parts)


# -- JSON ------------------------------------------------------------------------------------------


def read_segment(text: str) -> dict[str, object] | None:
    try:
        value = json.loads(urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def write_segment(text: str, encoding: str = "utf-8") -> str:
    return urlsafe_b64encode(text.encode(encoding, "surrogatepass")).decode().rstrip("=")


def rewrite_json(chance: random.Random, token: str, _: list[str]) -> str:
    """Equal JSON in other bytes: white space, order, escapes, another encoding."""
    parts = token.split(".")
    place = chance.randrange(len(parts))
    members = read_segment(parts[place])
    if members is None:
        return token
    order = list(members)
    chance.shuffle(order)
    text = chance.choice(
        (
            json.dumps(members),
            json.dumps(members, indent=1),
            json.dumps({name: members[name] for name in order}, separators=(",", ":")),
            json.dumps(members, separators=(",", ":")).replace("role", "\\u0072ole").replace("alg", "\\u0061lg"),
            json.dumps(members, separators=(",", ":"), ensure_ascii=False) + chance.choice((" ", "\n", "\0", "{}")),
            json.dumps(members, separators=(",", ":"))[:-1] + ',"role":"moderator"}',
        )
    )
    parts[place] = write_segment(text, chance.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32")))
    return ".".join(parts)


def change_claim(chance: random.Random, token: str, _: list[str]) -> str:
    parts = token.split(".")
    members = read_segment(parts[1]) if len(parts) == 3 else None
    if members is None:
        return token
    name = chance.choice([*members, "nbf", "sub", "connection_data"])
    members[name] = chance.choice(
        (
            *OTHER_ROLES,
            NOW + chance.randrange(10**6),
            None,
            True,
            [],
            {},
            "",
            API_KEY,
            -1,
            1e300,
            float("nan"),
            chance.random(),
        )
    )
    if chance.random() < 0.2:
        del members[name]
    parts[1] = write_segment(json.dumps(members, separators=(",", ":")))
    return ".".join(parts)


def change_header(chance: random.Random, token: str, _: list[str]) -> str:
    parts = token.split(".")
    members = read_segment(parts[0]) if len(parts) == 3 else None
    if members is None:
        return token
    members.update(chance.choice(HEADERS))
    parts[0] = write_segment(json.dumps(members, separators=(",", ":")))
    if chance.random() < 0.3:
        parts[2] = ""
    return ".".join(parts)


HEADERS: tuple[dict[str, object], ...] = (
    {"alg": "none"},
    {"alg": "None"},
    {"alg": "HS512"},
    {"alg": "RS256"},
    {"alg": ["HS256"]},
    {"typ": "jwt"},
    {"typ": None},
    {"crit": ["exp"]},
    {"b64": False},
    {"zip": "DEF"},
    {"kid": "../../dev/null"},
    {"kid": None},
    {"jwk": {"kty": "oct", "k": ""}},
    {"jku": "https://attacker.example/"},
    {"x5c": ["AAAA"]},
)


def sign_with_another_key(chance: random.Random, token: str, originals: list[str]) -> str:
    """A token of the attacker's wishes, signed by what the attacker knows."""
    changed = chance.choice((change_claim, change_header, rewrite_json))(chance, token, originals)
    signing_input = changed.rpartition(".")[0]
    digest = chance.choice(("sha256", "sha256", "sha1", "sha512"))
    signature = hmac.digest(chance.choice(ATTACKERS_KEYS), signing_input.encode("utf-8", "surrogatepass"), digest)
    return f"{signing_input}.{urlsafe_b64encode(signature).decode().rstrip('=')}"


# -- T1 --------------------------------------------------------------------------------------------


def open_t1(token: str) -> bytes | None:
    if not token.startswith("T1=="):
        return None
    try:
        return b64decode(token[4:])
    except ValueError:
        return None


def seal_t1(envelope: bytes) -> str:
    return "T1==" + b64encode(envelope).decode()


def flip_bit_of_t1(chance: random.Random, token: str, _: list[str]) -> str:
    envelope = open_t1(token)
    if not envelope:
        return token
    changed = bytearray(envelope)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return seal_t1(bytes(changed))


def edit_t1(chance: random.Random, token: str, originals: list[str]) -> str:
    """Other fields, other spellings, other parts, under the old signature."""
    envelope = open_t1(token)
    if not envelope or b":" not in envelope:
        return token
    donors = [other for other in map(open_t1, originals) if other]
    head, _, data = envelope.partition(b":")
    other_head, _, other_data = chance.choice(donors).partition(b":")
    parts = data.split(b"&")
    chance.shuffle(parts)
    role = chance.choice(OTHER_ROLES).encode()
    return seal_t1(
        chance.choice(
            (
                head + b":" + other_data,
                other_head + b":" + data,
                head.upper() + b":" + data,
                head[:19] + head[19:].upper() + b":" + data,
                head.replace(API_KEY.encode(), b"654321") + b":" + data,
                head + b"&role=" + role + b":" + data,
                head + b":" + b"&".join(parts),
                head + b":" + data + b"&role=" + role,
                head + b":role=" + role + b"&" + data,
                head + b":" + data.replace(b"publisher", role),
                head + b":" + data.replace(b"+", b"%20"),
                head + b":" + data.replace(b"%", b"%25"),
                head + b":" + data.replace(b"_", b"%5F"),
                head + b":" + data.lower(),
                head + b":" + data + chance.choice((b"&", b" ", b"\n", b"\0", b"=", b"%")),
                head + b"::" + data,
                b" " + envelope,
                envelope * 2,
            )
        )
    )


def sign_t1_with_another_key(chance: random.Random, token: str, originals: list[str]) -> str:
    envelope = open_t1(edit_t1(chance, token, originals))
    if not envelope:
        return token
    data = envelope.partition(b":")[2]
    signature = hmac.digest(chance.choice(ATTACKERS_KEYS), data, "sha1").hex()
    return seal_t1(f"partner_id={API_KEY}&sig={signature}:".encode() + data)


def spell_t1_otherwise(chance: random.Random, token: str, _: list[str]) -> str:
    text = token.removeprefix("T1==")
    return chance.choice(
        (
            "T1==" + text.rstrip("="),
            "T1==" + text + "=",
            "T1==" + text.replace("+", "-").replace("/", "_"),
            "T1==" + "\n".join(text[i : i + 76] for i in range(0, len(text), 76)),
            "t1==" + text,
            "T1=" + text,
            text,
            "T1==T1==" + text,
        )
    )


MUTATORS: tuple[Mutator, ...] = (
    flip_bit,
    replace_character,
    insert_character,
    delete_characters,
    swap_characters,
    swap_case,
    cut_or_double,
    swap_segments,
    shuffle_segments,
    drop_signature,
    spell_segment_otherwise,
    rewrite_json,
    change_claim,
    change_header,
    sign_with_another_key,
    flip_bit_of_t1,
    edit_t1,
    sign_t1_with_another_key,
    spell_t1_otherwise,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    start = time.perf_counter()
    report = run(arguments.count, arguments.seed)
    seconds = time.perf_counter() - start
    print(f"{report.count:,} mutations, seed {arguments.seed}, {seconds:.1f} s")
    for name, number in report.refusals.most_common():
        print(f"  refused as {name:<20} {number:>10,}")
    print(f"  identical to an original      {report.identical:>10,}")
    print(f"  accepted though changed       {len(report.accepted):>10,}")
    print(f"  originals refused             {len(report.refused_originals):>10,}")
    print(f"  other exceptions              {len(report.escaped):>10,}")
    for fault in (*report.accepted[:10], *report.refused_originals[:10], *report.escaped[:10]):
        print(f"  ! {fault!a}")
    return 0 if report.sound else 1


if __name__ == "__main__":
    sys.exit(main())

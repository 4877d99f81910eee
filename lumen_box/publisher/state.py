"""What a publisher must not lose or give away, as one sealed file: ``publisher.json``.

    {"format": 1, "id": …, "generation": n, "kdf": {…}, "sealed": hex}

``sealed`` is an envelope under the key that Argon2id makes of the passphrase, bound to the publisher's id and to the
generation, which grows by one with every change. Inside are all private keys and the hashes of everything public in
the folder, so replacing this file is the one step by which any change happens, and nothing else there is believed
unless it has a hash from in here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..bundle.forms import hexadecimal, known_format
from ..bundle.layout import HEX16, HEX32, checked
from ..errors import Damaged, WrongKey
from ..sealed.envelope import Label, unwrap, wrap
from ..sealed.passphrase import SALT, Cost, derive
from ..sealed.signatures import SEED
from ..sealed.stream import KEY
from ..strictjson import Fields, dumps, loads
from ..trust.layout import ROLES

FORMAT = 1
PURPOSE = "publisher"
WHAT = "publisher.json"
MAX_FILE = 32 << 20
MAX_ROLE_KEYS = 16


@dataclass(frozen=True)
class State:
    """The sealed part.

    Attributes:
        keys: seeds of the signing keys in force, by role.
        objects: content keys, by object id.
        boxes: SHA-256 of each enrolled box's newest enrolment, by box id.
        metadata: SHA-256 of each file of TUF metadata, by its name.
        targets: SHA-256 of each target, by its path.
    """

    keys: Mapping[str, tuple[bytes, ...]]
    objects: Mapping[str, bytes]
    boxes: Mapping[str, str]
    metadata: Mapping[str, str]
    targets: Mapping[str, str]

    @property
    def files(self) -> set[str]:
        """The hashes of all public files that this state needs."""
        return {*self.boxes.values(), *self.metadata.values(), *self.targets.values()}

    def to_bytes(self) -> bytes:
        return dumps(
            {
                "keys": {role: [seed.hex() for seed in seeds] for role, seeds in self.keys.items()},
                "objects": {identity: key.hex() for identity, key in self.objects.items()},
                "boxes": dict(self.boxes),
                "metadata": dict(self.metadata),
                "targets": dict(self.targets),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> State:
        fields = Fields(loads(data, what=WHAT, max_bytes=MAX_FILE), WHAT)
        keys = Fields(fields.take("keys", dict), WHAT)
        state = cls(
            keys={role: _seeds(keys.take(role, list)) for role in ROLES},
            objects={
                checked(name, HEX16, "An object id"): hexadecimal(Fields({name: key}, WHAT), name, KEY)
                for name, key in fields.take("objects", dict).items()
            },
            boxes=_hashes(fields, "boxes"),
            metadata=_hashes(fields, "metadata"),
            targets=_hashes(fields, "targets"),
        )
        keys.end()
        fields.end()
        return state


def _seeds(values: list[object]) -> tuple[bytes, ...]:
    if not 1 <= len(values) <= MAX_ROLE_KEYS:
        raise Damaged(f"{WHAT} has no keys for a role, or too many.")
    return tuple(hexadecimal(Fields({"seed": value}, WHAT), "seed", SEED) for value in values)


def _hashes(fields: Fields, name: str) -> dict[str, str]:
    members = fields.take(name, dict)
    return {key: Fields(members, WHAT).text(key, pattern=HEX32) for key in members}


@dataclass(frozen=True)
class Safe:
    """Seals and opens states of one publisher. ``key`` is the passphrase's, derived once a process."""

    publisher: str
    salt: bytes
    cost: Cost
    key: bytes

    @classmethod
    def new(cls, publisher: str, passphrase: bytes, salt: bytes, cost: Cost) -> Safe:
        return cls(publisher, salt, cost, derive(passphrase, salt, cost))

    def seal(self, state: State, generation: int) -> bytes:
        """The whole file."""
        kdf = {
            "kind": "argon2id",
            "salt": self.salt.hex(),
            "iterations": self.cost.iterations,
            "memory_kib": self.cost.memory_kib,
            "lanes": self.cost.lanes,
        }
        sealed = wrap(self.key, state.to_bytes(), Label(PURPOSE, self.publisher, FORMAT, generation))
        value = {"format": FORMAT, "id": self.publisher, "generation": generation, "kdf": kdf, "sealed": sealed.hex()}
        return dumps(value) + b"\n"

    @classmethod
    def open(cls, data: bytes, passphrase: bytes) -> tuple[Safe, State, int]:
        """The safe, the state in it, and its generation. Raises ``WrongKey``, ``Damaged`` or ``TooNew``."""
        fields = Fields(loads(data, what=WHAT, max_bytes=MAX_FILE), WHAT)
        known_format(fields, FORMAT)
        kdf = Fields(fields.take("kdf", dict), WHAT)
        kdf.one_of("kind", ["argon2id"])
        salt = hexadecimal(kdf, "salt", SALT)
        cost = Cost(*(kdf.number(name, least=1) for name in ("iterations", "memory_kib", "lanes")))
        kdf.end()
        publisher, generation = fields.text("id", pattern=HEX32), fields.number("generation", least=1)
        sealed = bytes.fromhex(fields.text("sealed", pattern=r"(?:[0-9a-f]{2})+", longest=MAX_FILE))
        fields.end()
        safe = cls.new(publisher, passphrase, salt, cost)
        try:
            plain = unwrap(safe.key, sealed, Label(PURPOSE, publisher, FORMAT, generation))
        except Damaged:
            raise WrongKey(
                "The passphrase does not open this publisher's keys.",
                kept="Nothing was changed.",
                then="Try again with the right passphrase; if it is right, restore publisher.json from a backup.",
            ) from None
        return safe, State.parse(plain), generation

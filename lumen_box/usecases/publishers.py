"""The publishers that this box trusts: pinned by a fingerprint read aloud, remembered in the vault.

What the vault says about a publisher (which root was pinned, the floors) cannot be changed without the keys of the box;
the files below ``trust/`` are believed only as far as they agree with it.

    trust/<publisher id>/root.json       the pinned root, as it came
    trust/<publisher id>/metadata.json   the metadata accepted last: {file name: its text}
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .. import strictjson
from ..atomic import make_dir, write_file
from ..audit import Event
from ..errors import Damaged, LumenError, NotFound, Untrusted
from ..paths import read_small
from ..release import BUILT
from ..sealed.fingerprint import Fingerprint
from ..strictjson import Fields
from ..trust.accepted import Accepted
from ..trust.floors import Floors
from ..trust.limits import MAX_BYTES
from ..trust.publisher_id import PinnedRoot, read_root, short_name
from ..trust.revocations import Revocations
from ..trust.time import trusted_now
from .box import Box
from .purposes import FLOORS, PINNED, REVOCATIONS

MAX_ROOT = MAX_BYTES["root"]
MAX_KEPT = 64 * 1024 * 1024  # bytes of all kept metadata of one publisher


@dataclass(frozen=True)
class Publisher:
    """A pinned publisher. ``alias`` is what people write before the slash of a model's name."""

    id: str
    name: str
    alias: str
    fingerprint: Fingerprint
    root: bytes


class Publishers:
    """Reads and changes what is pinned. Needs the vault: everything here raises ``Sealed`` without it."""

    def __init__(self, box: Box) -> None:
        self.box = box

    def now(self) -> datetime:
        """What time it is at the earliest: a clock that was set back changes nothing."""
        seen = [floors.signed_at for floors in map(self.floors, self.all()) if floors.signed_at]
        return trusted_now(self.box.clock.now(), BUILT, seen)

    def pin(self, root: bytes, fingerprint: Fingerprint, actor: str) -> Publisher:
        """Trusts the publisher of ``root`` from now on. Pinning the same root again changes nothing.

        Raises ``Untrusted`` if the fingerprint is not the root's or another root of this publisher is pinned.
        """
        if len(root) > MAX_ROOT:
            raise Damaged(f"A root has at most {MAX_ROOT} bytes.", kept="Nothing was pinned.")
        found = read_root(root)
        with self.box.audit.act(Event.TRUST_PINNED, actor, publisher=found.publisher_id, name=found.name):
            self._agree(found, fingerprint)
            folder = self.box.home.trust / found.publisher_id
            make_dir(self.box.disk, folder)
            write_file(self.box.disk, folder / "root.json", root)
            if found.publisher_id not in self.box.vault.ids(PINNED):
                alias = _free_alias(short_name(found.name), {p.alias for p in self.all()})
                record = {"alias": alias, "fingerprint": found.fingerprint.hex, "name": found.name}
                with self.box.keyring_change(actor) as change:
                    change.put(PINNED, found.publisher_id, strictjson.dumps(record))
        return self.get(found.publisher_id)

    def _agree(self, found: PinnedRoot, fingerprint: Fingerprint) -> None:
        if found.fingerprint != fingerprint:
            raise Untrusted(
                "The fingerprint is not the one of this root.",
                kept="Nothing was pinned.",
                then="Ask the publisher to read theirs aloud, from their own screen, and compare all words.",
            )
        known = found.publisher_id in self.box.vault.ids(PINNED)
        if known and self._pin(found.publisher_id)[1] != fingerprint:
            raise Untrusted(
                f"Another root of {found.name} is pinned already.",
                kept="It stays pinned.",
                then="New roots of a pinned publisher come with its media and need no pinning.",
            )

    def _pin(self, identity: str) -> tuple[str, Fingerprint, str]:
        """Alias, fingerprint and name, as the vault remembers them."""
        if identity not in self.box.vault.ids(PINNED):
            raise NotFound(f"No publisher {identity[:16]}… is pinned.", then="`lumen-box trust show` lists them.")
        record = strictjson.loads(self.box.vault.get(PINNED, identity), what="A pin", max_bytes=4096)
        fields = Fields(record, "A pin")
        return fields.text("alias"), Fingerprint.parse(fields.text("fingerprint")), fields.text("name")

    def all(self) -> list[Publisher]:
        return [self.get(identity) for identity in self.box.vault.ids(PINNED)]

    def aliases(self) -> dict[str, str]:
        """Ids by alias, as the vault has them: asked for each question, and about no publisher's files."""
        return {self._pin(identity)[0]: identity for identity in self.box.vault.ids(PINNED)}

    def alias(self, identity: str) -> str:
        """What people call this publisher; ``NotFound`` if it is not pinned."""
        return self._pin(identity)[0]

    def get(self, identity: str) -> Publisher:
        """The pinned publisher with this id; ``NotFound`` if there is none, ``Damaged`` if its root was changed."""
        alias, pin, name = self._pin(identity)
        root = self._read(identity, "root.json", MAX_ROOT)
        if root is None or not _is_pinned(root, pin):
            raise Damaged(
                f"The root of {name} on this box is not the one that was pinned.",
                kept="It was not used.",
                then="Pin the publisher's root again.",
            )
        return Publisher(identity, name, alias, pin, root)

    def known_metadata(self, publisher: Publisher) -> dict[str, bytes]:
        """What was accepted from this publisher before; empty at first, or if it was deleted or damaged: the floors,
        which are in the vault, keep what is older out without it."""
        what = f"The metadata kept of {publisher.name}"
        try:
            data = self._read(publisher.id, "metadata.json", MAX_KEPT)
            if data is None:
                return {}
            files = strictjson.loads(data, what=what, max_bytes=MAX_KEPT)
            return {name: Fields(files, what).take(name, str).encode("ascii", "replace") for name in files}
        except Damaged:
            return {}

    def floors(self, publisher: Publisher) -> Floors:
        """What may not be gone below."""
        kept = self.box.vault.get_or_none(FLOORS, publisher.id)
        return Floors() if kept is None else Floors.from_json(kept)

    def revocations(self, identity: str) -> Revocations:
        """What this publisher has taken back, as far as this box has heard."""
        kept = self.box.vault.get_or_none(REVOCATIONS, identity)
        return Revocations() if kept is None else Revocations.parse(kept)

    def keep(self, publisher: Publisher, accepted: Accepted, floors: Floors, actor: str) -> None:
        """Remembers accepted metadata, revocations and raised floors. Comes last: all before it can be repeated."""
        if dict(accepted.files) != self.known_metadata(publisher):
            texts = {name: content.decode("ascii") for name, content in accepted.files.items()}
            write_file(self.box.disk, self.box.home.trust / publisher.id / "metadata.json", strictjson.dumps(texts))
        news = {FLOORS: floors.to_json(), REVOCATIONS: accepted.revocations.to_bytes()}
        if any(self.box.vault.get_or_none(purpose, publisher.id) != data for purpose, data in news.items()):
            with self.box.keyring_change(actor) as change:
                for purpose, data in news.items():
                    change.put(purpose, publisher.id, data)
            self.box.audit.record(Event.TRUST_UPDATED, actor, publisher=publisher.id)

    def _read(self, identity: str, name: str, most: int) -> bytes | None:
        data = read_small(self.box.home.trust / identity / name, most)
        if data is not None and len(data) > most:
            raise Damaged(f"{name} of a publisher is larger than {most} bytes.")
        return data


def _is_pinned(root: bytes, pin: Fingerprint) -> bool:
    try:
        return read_root(root).fingerprint == pin
    except LumenError:
        return False


def _free_alias(wanted: str, taken: set[str]) -> str:
    candidates = [wanted, *(f"{wanted}-{number}" for number in range(2, 1000))]
    return next(candidate for candidate in candidates if candidate not in taken)

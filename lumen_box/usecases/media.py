"""What a medium offers this box, after everything about it has been verified that can be without copying."""

from __future__ import annotations

from dataclasses import dataclass

from ..audit import Event
from ..bundle.manifest import Manifest
from ..bundle.medium import Medium
from ..catalogue import ModelName
from ..errors import NotFound, Untrusted, UsageError
from ..trust import floors as floor_rules
from ..trust.accepted import Accepted
from ..trust.floors import Floors
from ..trust.layout import MODELS
from ..trust.session import accept
from .appliance import Appliance
from .publishers import Publisher, Publishers


@dataclass(frozen=True)
class Verified:
    """One publisher's metadata on a medium: signed, fresh, and not below any floor of this box."""

    publisher: Publisher
    accepted: Accepted
    floors: Floors


@dataclass(frozen=True)
class Offer:
    """One version of one model on a medium."""

    source: Verified
    name: str
    version: str
    path: str

    @property
    def publisher(self) -> Publisher:
        return self.source.publisher

    @property
    def sha256(self) -> str:
        return self.source.accepted.target(self.path).sha256

    def __str__(self) -> str:
        return f"{self.publisher.alias}/{self.name}@{self.version}"


def verify(publishers: Publishers, medium: Medium, actor: str, *, allow_expired: bool = False) -> list[Verified]:
    """The pinned publishers on ``medium`` with what was accepted of each.

    Raises ``Untrusted`` if none of them is pinned, and whatever is wrong with the metadata of one that is.
    """
    pinned = {publisher.id: publisher for publisher in publishers.all()}
    there = medium.publishers()
    known = [pinned[identity] for identity in there if identity in pinned]
    if not known:
        raise Untrusted(
            "This box trusts no publisher that is on this medium."
            if there
            else "There is nothing of any publisher on this medium.",
            kept="Nothing was changed.",
            then="Pin the publisher first: `lumen-box trust pin ROOT --fingerprint …`.",
        )
    return [_accept(publishers, publisher, medium, actor, allow_expired) for publisher in known]


def _accept(publishers: Publishers, publisher: Publisher, medium: Medium, actor: str, allow_expired: bool) -> Verified:
    floors = publishers.floors(publisher)

    def fetch_target(path: str, sha256: str) -> bytes:
        return medium.target(publisher.id, path, sha256)

    accepted = accept(
        pinned_root=publisher.root,
        known=publishers.known_metadata(publisher),
        fetch=lambda name: medium.fetch_metadata(publisher.id, name),
        fetch_target=fetch_target,
        now=publishers.now(),
        floors=floors,
        allow_expired=allow_expired,
    )
    if accepted.expired:
        publishers.box.audit.record(
            Event.EXPIRY_OVERRIDDEN, actor, publisher=publisher.id, roles=" ".join(accepted.expired)
        )
    return Verified(publisher, accepted, floors)


def offers(verified: list[Verified]) -> list[Offer]:
    """Every model on the medium that its publisher lists, by publisher, name and version."""
    found = [
        Offer(source, target.path.name, target.path.version, path)
        for source in verified
        for path, target in source.accepted.targets.items()
        if target.path.role == MODELS
    ]
    return sorted(found, key=str)


def choose(found: list[Offer], wanted: ModelName | None) -> Offer:
    """The offer that ``wanted`` means; without a name the only one there is."""
    matching = [offer for offer in found if wanted is None or _matches(offer, wanted)]
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise NotFound(
            f"There is no {wanted or 'model'} on this medium.",
            kept="Nothing was changed.",
            then="`lumen-box model install MEDIUM --list` shows what there is.",
        )
    raise UsageError(
        f"There are {len(matching)} models to choose from: {', '.join(map(str, matching))}.",
        kept="Nothing was changed.",
        then="Name one of them.",
    )


def _matches(offer: Offer, wanted: ModelName) -> bool:
    return (
        offer.name == wanted.name
        and wanted.version in (None, offer.version)
        and wanted.publisher in (None, offer.publisher.alias, offer.publisher.id)
    )


def read_manifest(medium: Medium, offer: Offer) -> tuple[Manifest, bytes]:
    """The manifest and its bytes, which have the signed hash."""
    data = medium.target(offer.publisher.id, offer.path, offer.sha256)
    return Manifest.parse(data, path=offer.path), data


def refuse_unfit(offer: Offer, manifest: Manifest, box_id: str) -> None:
    """``Untrusted`` if this version, its object or this box was revoked; ``Stale`` if the release is too old."""
    revocations = offer.source.accepted.revocations
    revocations.refuse(path=manifest.path, objects=[manifest.model.id], box=box_id)
    floor_rules.check_release(offer.source.floors, _thing(manifest), manifest.release)


def raised_floors(source: Verified, manifest: Manifest | None) -> Floors:
    """What the floors are once this metadata, and this manifest, have been taken over."""
    floors = floor_rules.raised(source.floors, source.accepted.observed)
    if manifest is None:
        return floors
    return floor_rules.raised_release(floors, _thing(manifest), manifest.min_release)


def _thing(manifest: Manifest) -> str:
    return f"{MODELS}/{manifest.name}"


def keep_revocations(publishers: Publishers, verified: list[Verified], actor: str) -> None:
    """Takes over the metadata of every publisher who takes something back that this box has not heard of yet."""
    for source in verified:
        if source.accepted.revocations != publishers.revocations(source.publisher.id):
            publishers.keep(source.publisher, source.accepted, raised_floors(source, None), actor)


def take_over(appliance: Appliance, medium: Medium, actor: str, *, allow_expired: bool = False) -> list[Offer]:
    """What is on a medium. Its newer metadata counts from now on: floors rise, and revocations take effect."""
    with appliance.box.administration():
        verified = verify(appliance.publishers, medium, actor, allow_expired=allow_expired)
        for source in verified:
            appliance.publishers.keep(source.publisher, source.accepted, raised_floors(source, None), actor)
        return offers(verified)

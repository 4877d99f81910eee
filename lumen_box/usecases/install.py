"""Installing a model from a medium: verified, resumable, and invisible until it is whole.

The order is the safety argument. Everything that can refuse without copying comes first; the content key is opened
before 40 GB are copied; the model exists when its manifest is renamed into place; floors rise last, so that a failed
install never locks out the medium that would have worked. Only what the publisher has taken back counts at once,
whatever becomes of the rest.

    intent → metadata → floors → revocations → key → space → segments → sandboxed check → key wrapped
           → object published → manifest vouched for, published → catalogue → staging cleared → floors → outcome
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from ..audit import Event
from ..bundle.manifest import Manifest, StoredObject
from ..bundle.medium import Medium
from ..bundle.parts import in_turn
from ..bundle.recipients import open_content_key
from ..catalogue import Installed, ModelName
from ..errors import LumenError, PartMissing, Untrusted
from ..progress import Advance, Report, Step
from ..sealed.recipient import RecipientKey
from ..sealed.stream import HEADER
from . import media
from .ahead import ahead
from .appliance import Appliance
from .media import Offer
from .purposes import CONTENT, MANIFEST, RECIPIENT
from .staging import Claim, Staging, discard
from .store import hashes, voucher


@dataclass(frozen=True)
class InstallResult:
    """``fresh`` is False where the very same model was installed and whole already."""

    installed: Installed
    publisher: str
    fresh: bool


def install(
    appliance: Appliance,
    medium: Medium,
    wanted: ModelName | None,
    actor: str,
    report: Report,
    *,
    allow_expired: bool = False,
) -> InstallResult:
    """Installs ``wanted``, or the only model on the medium. Run again after any interruption, it goes on.

    Raises what can be wrong with a medium: ``Untrusted`` 20, ``Stale`` 21, ``Damaged`` 22, ``NoSpace`` 23,
    ``NotForThisBox`` 24, ``TooNew`` 25, ``PartMissing`` 26; ``UsageError`` where the choice is not clear.
    """
    box, publishers = appliance.box, appliance.publishers
    with (
        box.administration(),
        box.audit.act(Event.MODEL_INSTALLED, actor, wanted=str(wanted or ""), expired_allowed=allow_expired) as learned,
    ):
        report(Step("Verifying the medium"))
        verified = media.verify(publishers, medium, actor, allow_expired=allow_expired)
        media.keep_revocations(publishers, verified, actor)
        offer = media.choose(media.offers(verified), wanted)
        learned |= {"publisher": offer.publisher.id, "model": offer.name, "version": offer.version}
        manifest, data = media.read_manifest(medium, offer)
        learned |= {"manifest": hashlib.sha256(data).hexdigest(), "object": manifest.model.id}
        media.refuse_unfit(offer, manifest, box.identity.box_id)
        _refuse_other_weights(appliance, offer, manifest)
        job = _Job(appliance, medium, offer, manifest, data, actor, report)
        fresh = job.bring_in() or not appliance.store.has((offer.publisher.id, manifest.name, manifest.version))
        with _vouched_for(appliance, voucher(offer.publisher.id, manifest.name, manifest.version), data, actor):
            installed = appliance.store.publish_manifest(offer.publisher.id, manifest, data)
        box.catalogue.add(installed)
        discard(box.home, box.disk, manifest.model.id)
        floors = media.raised_floors(offer.source, manifest)
        publishers.keep(offer.publisher, offer.source.accepted, floors, actor)
        return InstallResult(installed, offer.publisher.alias, fresh)


@contextlib.contextmanager
def _vouched_for(appliance: Appliance, id: str, manifest: bytes, actor: str) -> Iterator[None]:
    """Has the vault remember the manifest that the block puts in place, and forget the one before it afterwards."""
    box, new = appliance.box, hashlib.sha256(manifest).digest()
    before = hashes(box.vault.get_or_none(MANIFEST, id))
    if new not in before:
        with box.keyring_change(actor) as change:
            change.put(MANIFEST, id, b"".join([new, *before]))
    yield
    if before and before != [new]:
        with box.keyring_change(actor) as change:
            change.put(MANIFEST, id, new)


def _refuse_other_weights(appliance: Appliance, offer: Offer, manifest: Manifest) -> None:
    """A version that is installed stays what it is: a publisher who changes the weights gives them a new version."""
    key = (offer.publisher.id, manifest.name, manifest.version)
    for installed in appliance.box.catalogue.installed():
        if installed.key == key and installed.object != manifest.model.id:
            raise Untrusted(
                f"{offer} is installed with other weights than those on this medium.",
                kept="It was not changed.",
                then="Ask the publisher for a new version, or remove the installed one first.",
            )
        if installed.object == manifest.model.id and not _same_weights(appliance, installed, offer, manifest):
            raise Untrusted(
                f"{offer} gives its weights the id of those of {installed.name}@{installed.version}.",
                kept="Nothing was changed.",
                then="Ask the publisher for a new medium: an id is never given twice.",
            )


def _same_weights(appliance: Appliance, installed: Installed, offer: Offer, manifest: Manifest) -> bool:
    """Whether the object is the very same, of the same publisher: only then may two versions share it.

    A version whose own manifest can no longer be read is mended by installing it again.
    """
    try:
        known = appliance.store.manifest(installed).model
    except LumenError:
        if installed.key != (offer.publisher.id, manifest.name, manifest.version):
            raise
        return True
    return installed.publisher == offer.publisher.id and known == manifest.model


def check(
    appliance: Appliance,
    medium: Medium,
    wanted: ModelName | None,
    actor: str,
    report: Report,
    *,
    allow_expired: bool = False,
) -> Offer:
    """Verifies what :func:`install` would, down to every byte of the model and its key, and changes nothing."""
    report(Step("Verifying the medium"))
    verified = media.verify(appliance.publishers, medium, actor, allow_expired=allow_expired)
    offer = media.choose(media.offers(verified), wanted)
    manifest, data = media.read_manifest(medium, offer)
    media.refuse_unfit(offer, manifest, appliance.box.identity.box_id)
    _refuse_other_weights(appliance, offer, manifest)
    _Job(appliance, medium, offer, manifest, data, actor, report).read_through()
    return offer


@dataclass(frozen=True)
class _Job:
    """One object on its way into the store."""

    appliance: Appliance
    medium: Medium
    offer: Offer
    manifest: Manifest
    data: bytes
    actor: str
    report: Report

    @property
    def stored(self) -> StoredObject:
        return self.manifest.model

    def bring_in(self) -> bool:
        """Ciphertext and wrapped key, both durable. Returns whether anything had to be copied."""
        vault, store = self.appliance.box.vault, self.appliance.store
        if vault.get_or_none(CONTENT, self.stored.id) is not None:
            self.report(Step("Checking what is here already"))
            if store.whole(self.stored, self.report):
                return False
        staging = Staging(self.appliance.box.home, self.stored, self._claim(), self.appliance.box.disk)
        with contextlib.closing(staging):
            key = self._copy(staging)
            self.report(Step("Checking the model in a sandbox"))
            self.appliance.check_weights(staging.data, key, self.manifest)
            with self.appliance.box.keyring_change(self.actor) as change:
                change.put(CONTENT, self.stored.id, key)
            store.publish_object(staging.data, self.stored)
        return True

    def _claim(self) -> Claim:
        digest = hashlib.sha256(self.data).hexdigest()
        return Claim(self.offer.publisher.id, self.manifest.name, self.manifest.version, digest)

    def read_through(self) -> None:
        """Every segment and the content key, without keeping anything."""
        self.report(Step(f"Reading {self.offer.name} {self.offer.version}"))
        room = in_turn(self.stored.slices.segment_size(0), 1)
        for index, segment in self.medium.segments(self.offer.publisher.id, self.stored, room=room):
            if index == 0:
                self._content_key(bytes(segment[:HEADER]))
            self.report(Advance(self.stored.slices.offset(index + 1), self.stored.stored_size))

    def _copy(self, staging: Staging) -> bytes:
        """Copies what is not staged yet; returns the content key, which is opened before anything is reserved."""
        self.report(Step(f"Copying {self.offer.name} {self.offer.version}"))
        header = staging.header()
        key = self._begin(staging, header) if header else b""
        room = in_turn(self.stored.slices.segment_size(0), 2)  # one is written while the other is filled
        arriving = self.medium.segments(self.offer.publisher.id, self.stored, staging.done, room)
        try:
            with contextlib.closing(ahead(arriving)) as segments:
                for index, segment in segments:
                    key = key or self._begin(staging, bytes(segment[:HEADER]))
                    staging.add(index, segment, self.report)
        except PartMissing as error:
            raise PartMissing(
                error.what,
                kept=f"{staging.done} of {self.stored.slices.segments} segments are kept.",
                then=error.then,
            ) from error
        return key

    def _begin(self, staging: Staging, header: bytes) -> bytes:
        """The content key, to which the stream's header commits. Only then is space reserved for the rest."""
        key = self._content_key(header)
        staging.resume(self.report)
        return key

    def _content_key(self, header: bytes) -> bytes:
        """The object's key, by the newest of this box's enrolments that the medium knows."""
        vault, identity = self.appliance.box.vault, self.appliance.box.identity
        keys = [
            RecipientKey.from_seed(vault.get(RECIPIENT, number)) for number in sorted(vault.ids(RECIPIENT), key=int)
        ]
        for key in reversed(keys):
            sealed = self.medium.recipient(self.offer.publisher.id, self.stored.id, key.public.key_id)
            if sealed is not None:
                return open_content_key(sealed, self.stored, identity.box_id, key, header)
        return open_content_key(None, self.stored, identity.box_id, keys[0], header)

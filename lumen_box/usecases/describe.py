"""What is installed, in the words that the command line, the console and the API share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..audit import Event
from ..catalogue import Installed, ModelName
from ..clock import stamp
from ..errors import Damaged, LumenError, Sealed
from ..progress import Report, Step
from .appliance import Appliance
from .media import Offer
from .purposes import CONTENT


@dataclass(frozen=True)
class ModelDescription:
    """The fields of ``model show --json``. ``size`` is in bytes, ``context`` in tokens. ``layout`` says in words how a
    loaded model is laid out in memory, and why."""

    name: str
    version: str
    state: str
    role: str
    architecture: str
    parameters: int
    context: int
    quantisation: str
    size: int
    publisher: str
    publisher_id: str
    release: int
    signed_at: str
    installed_at: str
    licence: str | None
    template_sha256: str | None
    layout: tuple[str, ...]
    card: str | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def show(appliance: Appliance, wanted: ModelName) -> ModelDescription:
    """Everything about one installed version."""
    installed = appliance.box.catalogue.one(wanted, appliance.publishers.aliases())
    return describe(appliance, installed)


def describe(appliance: Appliance, installed: Installed) -> ModelDescription:
    manifest = appliance.store.manifest(installed)
    publisher = appliance.publishers.get(installed.publisher)
    return ModelDescription(
        name=manifest.name,
        version=manifest.version,
        state=state_of(appliance, installed),
        role=manifest.role,
        architecture=manifest.architecture,
        parameters=manifest.parameters,
        context=manifest.context,
        quantisation=manifest.quantisation,
        size=manifest.model.size,
        publisher=publisher.alias,
        publisher_id=publisher.id,
        release=manifest.release,
        signed_at=stamp(manifest.signed_at),
        installed_at=installed.installed_at,
        licence=manifest.licence,
        template_sha256=manifest.template_sha256,
        layout=_layout(appliance, installed),
        card=manifest.card,
    )


def _layout(appliance: Appliance, installed: Installed) -> tuple[str, ...]:
    running = appliance.models.running(installed.publisher, installed.name)
    facts = running.engine.facts if running and running.installed.version == installed.version else None
    return facts.reasons if facts else ()


def listing(appliance: Appliance) -> list[dict[str, Any]]:
    """One short record a version; a damaged one is listed as such instead of hiding the others."""
    records = []
    for installed in appliance.box.catalogue.installed():
        try:
            record = describe(appliance, installed).to_json()
        except Sealed:
            raise
        except LumenError as error:
            record = {"name": installed.name, "version": installed.version, "state": "damaged", "why": error.what}
        records.append({key: value for key, value in record.items() if key not in ("card", "layout")})
    return records


def state_of(appliance: Appliance, installed: Installed) -> str:
    """``active``, ``installed``, ``revoked`` or ``damaged``; ``default`` is added where it answers for its role."""
    box, store = appliance.box, appliance.store
    try:
        manifest = store.manifest(installed)
        if not store.object_path(installed.object).exists() or box.vault.get_or_none(CONTENT, installed.object) is None:
            return "damaged"  # a removal was interrupted, or someone has touched the files
        appliance.models.refuse_revoked(installed, manifest)
    except Damaged:
        return "damaged"
    except LumenError:
        return "revoked"
    active = box.catalogue.active_version(installed.publisher, installed.name)
    if not active or active.version != installed.version:
        return "installed"
    default = box.catalogue.default(installed.role)
    return "active (default)" if default == (installed.publisher, installed.name) else "active"


def offered(appliance: Appliance, offers: list[Offer]) -> list[dict[str, Any]]:
    """What a medium offers, and what of it is here already."""
    here = {entry.key for entry in appliance.box.catalogue.installed()}
    return [
        {
            "publisher": offer.publisher.alias,
            "name": offer.name,
            "version": offer.version,
            "installed": (offer.publisher.id, offer.name, offer.version) in here,
        }
        for offer in offers
    ]


def verify(appliance: Appliance, wanted: ModelName, actor: str, report: Report) -> Installed:
    """Reads an installed model's every byte again. ``Damaged`` names what is wrong, and nothing is changed."""
    box = appliance.box
    installed = box.catalogue.one(wanted, appliance.publishers.aliases())
    with box.audit.act(
        Event.MODEL_VERIFIED, actor, publisher=installed.publisher, model=installed.name, version=installed.version
    ):
        manifest = appliance.store.manifest(installed)
        report(Step(f"Reading {installed.name} {installed.version}"))
        key = box.vault.get_or_none(CONTENT, manifest.model.id)
        whole = key is not None and appliance.store.whole(manifest.model, report)
        if key is None or not whole or not appliance.store.opens(manifest.model, key):
            raise Damaged(
                f"The stored weights of {installed.name}@{installed.version} are damaged.",
                kept="Nothing was changed.",
                then="Install the model again from its medium: what is damaged is replaced.",
            )
    return installed

"""Administration over the wire: what the routes of ``api/admin_*.py`` take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from .limits import MAX_NAME, Length, Range
from .sampling import STRICT

Name = Annotated[str, Length(1, MAX_NAME)]
SlotKind = Literal["passphrase", "key-file", "recovery"]
Scope = Annotated[str, Length(1, 16)]
MAX_SECRET = 88_000  # characters of base64: the largest key file
MAX_ROOT = 512 * 1024  # characters of a root, which are bytes: as trust/limits.py has it
MAX_FINGERPRINT = 1024
MAX_SCOPES = 8
MAX_DAYS = 400
MAX_PROMPT = 256 * 1024  # characters of a published prompt


@dataclass(frozen=True)
class MediumRequest:
    """``medium`` is the ticket that the handover socket gave for the medium's open folder."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    medium: Name
    allow_expired: bool = False


@dataclass(frozen=True)
class InstallRequest(MediumRequest):
    """``model`` is ``[publisher/]name[@version]``; left out, the only one on the medium is meant. With ``check`` all is
    verified and nothing changed."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    model: Name | None = None
    check: bool = False


@dataclass(frozen=True)
class ModelRequest:
    """For roll back, verify and remove."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    model: Name


@dataclass(frozen=True)
class ActivateRequest(ModelRequest):
    """With ``default`` the model also answers where no model is named."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    default: bool = False


@dataclass(frozen=True)
class UnlockRequest:
    """``secret`` is base64 of a passphrase or key file, or of a recovery code as printed, as ``kind`` says."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    kind: SlotKind
    secret: Annotated[str, Length(1, MAX_SECRET)]


@dataclass(frozen=True)
class SlotRequest:
    """A new slot; ``secret`` is as in :class:`UnlockRequest`, and left out for a recovery key: the box makes that."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    kind: SlotKind
    label: Name
    secret: Annotated[str, Length(1, MAX_SECRET)] | None = None


@dataclass(frozen=True)
class RotateRequest:
    """``kind`` is which key is made anew: ``kek``, the key-encryption key."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    kind: Literal["kek"]


@dataclass(frozen=True)
class PinRequest:
    """``root`` is the publisher's root, as text; ``fingerprint`` is what was read aloud, words or hex."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    root: Annotated[str, Length(1, MAX_ROOT)]
    fingerprint: Annotated[str, Length(1, MAX_FINGERPRINT)]


@dataclass(frozen=True)
class PublishRequest:
    """A text to share between all users, under a name; its size in bytes is checked further in."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: Name
    kind: Literal["system", "document"]
    text: Annotated[str, Length(1, MAX_PROMPT)]


@dataclass(frozen=True)
class PromptRequest:
    """For show and remove."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: Name


@dataclass(frozen=True)
class TokenRequest:
    """A new API token with these scopes, good for so many days."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: Name
    scopes: Annotated[list[Scope], Length(1, MAX_SCOPES)]
    days: Annotated[int, Range(1, MAX_DAYS)]

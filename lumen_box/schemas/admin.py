"""Administration over the wire: what the routes of ``api/admin.py`` take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from .limits import MAX_NAME, Length
from .sampling import STRICT

Name = Annotated[str, Length(1, MAX_NAME)]


@dataclass(frozen=True)
class InstallRequest:
    """``medium`` is the ticket that the handover socket gave for the medium's open folder."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    medium: Name
    model: Name | None = None
    allow_expired: bool = False


@dataclass(frozen=True)
class ModelRequest:
    """For activate, roll back, verify and remove."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    model: Name


@dataclass(frozen=True)
class UnlockRequest:
    """``secret`` is base64 of a passphrase or key file, or a recovery code as printed, as ``kind`` says."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    kind: Name
    secret: Annotated[str, Length(1, 8192)]

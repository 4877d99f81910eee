"""Everything that can go wrong, as one tree; each error keeps its exit code for ever.

    LumenError                 1   unexpected
    ├─ UsageError              2   the request itself is wrong
    ├─ NoBox                  10   there is no box (or publisher) here yet
    ├─ Locked                 11   another process holds the lock
    ├─ Sealed                 12   keys are not available
    │  └─ WrongKey            12   the passphrase or key does not open it
    ├─ NotAllowed             13   the principal may not do this
    │  └─ Unauthenticated     13   nobody has been recognised
    ├─ NotFound               14   no such thing
    ├─ Untrusted              20   signature, role, unknown publisher, revoked
    ├─ Stale                  21   older than the floor, or expired
    │  └─ Expired             21
    ├─ Damaged                22   hash, AEAD or length wrong, unsound GGUF
    ├─ NoSpace                23   the disk is full
    ├─ NotForThisBox          24   encrypted for somebody else
    ├─ TooNew                 25   needs a newer Lumen Box
    ├─ PartMissing            26   insert the next medium
    ├─ GatewayUnreachable     30
    ├─ NoModel                31   no model is active
    ├─ Busy                   32   try later
    ├─ TooLong                33   the input does not fit the context
    └─ Interrupted           130

An error says what happened, what was left untouched, and what to do next.
"""

from __future__ import annotations

from typing import ClassVar


class LumenError(Exception):
    """An error with words for a person and a number for a script.

    Args:
        what: what happened, as one sentence.
        kept: what was left untouched, as one sentence; empty where nothing could have changed.
        then: what to do next, as one sentence.
    """

    exit_code: ClassVar[int] = 1
    status: ClassVar[int] = 500  # the HTTP status of the same failure
    code: ClassVar[str] = "unexpected"

    def __init__(self, what: str, *, kept: str = "", then: str = "") -> None:
        super().__init__(what)
        self.what, self.kept, self.then = what, kept, then

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.kept, self.then) if part)


class UsageError(LumenError):
    exit_code, status, code = 2, 400, "usage"


class NoBox(LumenError):
    exit_code, status, code = 10, 404, "no_box"


class Locked(LumenError):
    exit_code, status, code = 11, 409, "locked"


class Sealed(LumenError):
    exit_code, status, code = 12, 503, "sealed"


class WrongKey(Sealed):
    status, code = 403, "wrong_key"


class NotAllowed(LumenError):
    exit_code, status, code = 13, 403, "not_allowed"


class Unauthenticated(NotAllowed):
    status, code = 401, "unauthenticated"


class NotFound(LumenError):
    exit_code, status, code = 14, 404, "not_found"


class Untrusted(LumenError):
    exit_code, status, code = 20, 422, "untrusted"


class Stale(LumenError):
    exit_code, status, code = 21, 422, "stale"


class Expired(Stale):
    code = "expired"


class Damaged(LumenError):
    exit_code, status, code = 22, 422, "damaged"


class NoSpace(LumenError):
    exit_code, status, code = 23, 507, "no_space"


class NotForThisBox(LumenError):
    exit_code, status, code = 24, 422, "not_for_this_box"


class TooNew(LumenError):
    exit_code, status, code = 25, 422, "too_new"


class PartMissing(LumenError):
    exit_code, status, code = 26, 422, "part_missing"


class GatewayUnreachable(LumenError):
    exit_code, status, code = 30, 503, "gateway_unreachable"


class NoModel(LumenError):
    exit_code, status, code = 31, 503, "no_model"


class Busy(LumenError):
    exit_code, status, code = 32, 429, "busy"


class TooLong(LumenError):
    exit_code, status, code = 33, 400, "context_length_exceeded"


class Interrupted(LumenError):
    exit_code, status, code = 130, 499, "interrupted"


def _family(root: type[LumenError]) -> list[type[LumenError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _family(child))]


def by_code() -> dict[str, type[LumenError]]:
    """Every error by its ``code``, so that a client can raise what the gateway raised."""
    kinds: dict[str, type[LumenError]] = {}
    for kind in _family(LumenError):
        kinds.setdefault(kind.code, kind)  # a subclass without a code of its own does not stand in for its parent
    return kinds

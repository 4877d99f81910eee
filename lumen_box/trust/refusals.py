"""What is said when metadata is refused: TUF's errors, and our own of the same kind, in words for an operator."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tuf.api import exceptions

from ..errors import Damaged, Expired, LumenError, Stale, Untrusted
from .parts import AGAIN, KEPT


def signed_twice(role: str, version: int) -> Untrusted:
    """The error for two different files that are both version ``version`` of ``role``."""
    return Untrusted(
        f"The publisher has signed two different versions {version} of its {role} metadata.",
        kept="Nothing was changed.",
        then="Ask the publisher whether its workspace was restored from an old copy, and for a new export.",
    )


def expired(what: str) -> Expired:
    return Expired(
        f"The publisher's metadata has expired: {what}.",
        kept=KEPT,
        then="Use a newer medium; or, if the clock is right and the risk is known, allow expired metadata by name.",
    )


@contextlib.contextmanager
def said_in_full() -> Iterator[None]:
    """Errors of the strict reader, which knows no context, with what was kept and what to do next."""
    try:
        yield
    except LumenError as error:
        error.kept, error.then = error.kept or KEPT, error.then or AGAIN
        raise


@contextlib.contextmanager
def in_our_words(role: str) -> Iterator[None]:
    """TUF's errors as ours."""
    try:
        yield
    except exceptions.ExpiredMetadataError as error:
        raise expired(str(error)) from error
    except exceptions.BadVersionNumberError as error:
        raise Stale(
            f"The {role} metadata is older than what this box has seen.",
            kept=KEPT,
            then="Use the publisher's newest medium.",
        ) from error
    except exceptions.UnsignedMetadataError as error:
        raise Untrusted(
            f"The {role} metadata is not signed by the keys that may sign it.",
            kept=KEPT,
            then="Do not use this medium; ask the publisher for another.",
        ) from error
    except exceptions.LengthOrHashMismatchError as error:
        raise Damaged(f"The {role} metadata is not the one that was signed.", kept=KEPT, then=AGAIN) from error
    except exceptions.RepositoryError as error:
        raise Damaged(f"The {role} metadata is not sound: {error}.", kept=KEPT, then=AGAIN) from error

"""From a connection to a principal: a uid that the kernel vouches for, or a bearer token. Nothing else.

A request that brings a token is judged by that token alone, on whatever it came: a bad token is refused and never
falls back to the uid of the socket's peer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..errors import NotAllowed, Unauthenticated
from .ports import Tokens
from .principal import ADMINISTRATOR, Principal

SUPERUSER = 0


@dataclass(frozen=True)
class Peer:
    """The process at the other end of a Unix socket, as the kernel saw it when it connected."""

    uid: int
    pid: int


def identify(peer: Peer | None, authorization: str | None, tokens: Tokens) -> Principal:
    """Who is asking. Raises ``Unauthenticated`` where nobody is recognised.

    Args:
        peer: the other end of the Unix socket; None over TCP.
        authorization: the header of that name, if there was one.
    """
    if authorization is not None:
        return _by_token(authorization, tokens)
    if peer is not None:
        return by_uid(peer.uid)
    raise Unauthenticated(
        "This request brings no token.",
        then="Send the header `Authorization: Bearer …` with a token from `lumen-box token create`.",
    )


def _by_token(authorization: str, tokens: Tokens) -> Principal:
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise Unauthenticated("The Authorization header is not of the form `Bearer TOKEN`.")
    token = tokens.authenticate(text.strip())
    return Principal(f"token:{token.id}", "token", scopes=token.scopes, credential=token.id)


def by_uid(uid: int) -> Principal:
    """The user that the box belongs to and root administrate it; ``NotAllowed`` for everybody else."""
    if uid not in (SUPERUSER, os.geteuid()):
        raise NotAllowed(
            f"The user with uid {uid} has no role on this box.",
            then="Run the command as the user the box belongs to, or use a token from `lumen-box token create`.",
        )
    return Principal(f"uid:{uid}", "local", roles=frozenset({ADMINISTRATOR}))

"""The only place that says who may do what.

A route names its action (``deps.may``), every request asks here, and a route without an action does not start the
gateway. Roles are what people and local accounts act by; a token acts by its scopes alone, and an action without a
scope is closed to every token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ..errors import NotAllowed
from .principal import ADMINISTRATOR, ANALYST, AUDITOR, OPERATOR, ROLES, Principal


class Action(StrEnum):
    GENERATE = "generate"
    EMBED = "turn texts into vectors"
    ISOLATE = "have a request answered alone while everybody else waits"
    FOLLOW = "follow a generation"
    CANCEL = "cancel a generation"
    LIST_MODELS = "list models"
    READ_METRICS = "read metrics"
    READ_STATUS = "read the status of the box"
    UNSEAL = "unlock the box"
    SEAL = "lock the box"
    STOP = "stop the gateway"
    READ_TRUST = "read what the box trusts"
    MANAGE_TRUST = "change what the box trusts"
    EXPORT_ENROLMENT = "export the enrolment"
    MANAGE_MODELS = "install, activate or remove models"
    MANAGE_TOKENS = "manage tokens"
    READ_KEYS = "list the keys of the box"
    MANAGE_KEYS = "change the keys of the box"
    READ_PROMPTS = "read the published prompts"
    MANAGE_PROMPTS = "publish or withdraw prompts"
    DIAGNOSE = "diagnose the box"


@dataclass(frozen=True)
class Rule:
    """Who may: any of ``roles``, or a token with ``scope``; ``owned`` leaves only the owner of the thing."""

    roles: frozenset[str]
    scope: str | None = None
    owned: bool = False


_OPERATORS = frozenset({ADMINISTRATOR, OPERATOR})
_ADMINISTRATORS = frozenset({ADMINISTRATOR})
_WRITERS = frozenset({ADMINISTRATOR, OPERATOR, ANALYST})

RULES: Mapping[Action, Rule] = {
    Action.GENERATE: Rule(_WRITERS, "chat"),
    Action.EMBED: Rule(_WRITERS, "embeddings"),
    Action.ISOLATE: Rule(_OPERATORS, "isolated"),
    Action.FOLLOW: Rule(_WRITERS, "chat", owned=True),
    Action.CANCEL: Rule(_WRITERS, "chat", owned=True),
    Action.LIST_MODELS: Rule(ROLES, "models"),
    Action.READ_METRICS: Rule(_OPERATORS, "metrics"),
    Action.READ_STATUS: Rule(ROLES),
    Action.UNSEAL: Rule(_OPERATORS),
    Action.SEAL: Rule(_OPERATORS),
    Action.STOP: Rule(_OPERATORS),
    Action.READ_TRUST: Rule(_OPERATORS | {AUDITOR}),
    Action.MANAGE_TRUST: Rule(_ADMINISTRATORS),
    Action.EXPORT_ENROLMENT: Rule(_OPERATORS),
    Action.MANAGE_MODELS: Rule(_OPERATORS),
    Action.MANAGE_TOKENS: Rule(_ADMINISTRATORS),
    Action.READ_KEYS: Rule(_OPERATORS | {AUDITOR}),
    Action.MANAGE_KEYS: Rule(_ADMINISTRATORS),
    Action.READ_PROMPTS: Rule(_WRITERS),
    Action.MANAGE_PROMPTS: Rule(_OPERATORS),
    Action.DIAGNOSE: Rule(_OPERATORS),
}


def authorise(principal: Principal, action: Action, owner: str | None = None) -> None:
    """Returns where ``principal`` may do ``action``, to a thing that belongs to ``owner``; else ``NotAllowed``."""
    rule = RULES[action]
    if principal.kind == "token":
        allowed = rule.scope is not None and rule.scope in principal.scopes
    else:
        allowed = bool(rule.roles & principal.roles)
    if rule.owned and owner != principal.id:
        allowed = False
    if not allowed:
        raise NotAllowed(
            f"You may not {action}.",
            kept="Nothing was done.",
            then=_remedy(principal, rule),
        )


def _remedy(principal: Principal, rule: Rule) -> str:
    if principal.kind != "token":
        return "Ask an administrator of the box."
    if rule.scope is None:
        return "No token can do this: use the command line on the box."
    return f"It takes a token with the scope {rule.scope!r}."

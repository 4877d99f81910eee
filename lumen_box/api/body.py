"""Reading and checking a JSON body: capped in size and time before anything is parsed, then exact.

No coercion (``"5"`` is no number, ``true`` no 1), no unknown members, no key twice, no NaN, nothing nested hundreds
deep. A member that is null is the same as one left out: it asks for nothing. What was sent never appears in the
refusal, only the name of the member that is wrong.
"""

from __future__ import annotations

import asyncio
import json
import operator
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect, Request

from ..errors import Interrupted, LumenError
from ..schemas.errors import (
    BodyTooLarge,
    InvalidParameter,
    MalformedBody,
    TooSlow,
    UnsupportedParameter,
    WrongContentType,
)
from .deps import the_box

BODY_SECONDS = 30.0  # for the whole body to arrive
INLINE_BYTES = 256 * 1024  # what is parsed without leaving the event loop
UNKNOWN = "unexpected_keyword_argument"  # the validator's word for a member it does not know
VERBATIM = "schema"  # the member whose value is handed on as it is
SHOWN_NAME = 64  # characters of a stranger's parameter name that are repeated to them

T = TypeVar("T")


class JsonBody(Generic[T]):
    """A dependency that gives the request's body as a ``kind``; a ``BadRequest`` says what is wrong with it."""

    seconds: ClassVar[float] = BODY_SECONDS

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        return TypeAdapter(self._kind)

    async def __call__(self, request: Request) -> T:
        _check_type(request)
        data = await read_body(request, the_box(request).settings.gateway.body_bytes, self.seconds)
        if len(data) <= INLINE_BYTES:
            return self.parse(data)
        return await asyncio.to_thread(self.parse, data)

    def parse(self, data: bytes) -> T:
        value, nulls = _decoded(data)
        try:
            return self._adapter.validate_json(json.dumps(value) if nulls else data, strict=True)
        except ValidationError as error:
            raise _explained(error, value) from None


async def read_body(request: Request, cap: int, seconds: float) -> bytes:
    """All bytes of the body. Raises ``BodyTooLarge`` as soon as it is known to be, ``TooSlow`` after ``seconds``."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:18]) > cap:
        raise _too_large(cap)
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.stream():
                data += piece
                if len(data) > cap:
                    raise _too_large(cap)
    except TimeoutError:
        raise TooSlow(f"The body of this request did not arrive within {seconds:g} seconds.") from None
    except ClientDisconnect:
        raise Interrupted("The client went away before its request was complete.") from None
    return bytes(data)


def _too_large(cap: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body of this request is larger than the {cap} bytes that this box takes.")


def _check_type(request: Request) -> None:
    sent = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if sent != "application/json":
        raise WrongContentType("The body of this request must be JSON, with the Content-Type application/json.")


def _decoded(data: bytes) -> tuple[Any, bool]:
    """The value, without members that are null, and whether there were any."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=_members, parse_constant=_no_constant)
        kept = _without_nulls(value)
        return kept, kept is not value
    except RecursionError:
        raise MalformedBody("The JSON of this request is nested too deep.") from None
    except UnicodeDecodeError:
        raise MalformedBody("The body of this request is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise MalformedBody(f"The body of this request is not JSON ({error.msg}, byte {error.pos}).") from None
    except ValueError as error:
        raise MalformedBody(f"The body of this request is not acceptable JSON: {str(error)[:80]}.") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _without_nulls(value: Any) -> Any:
    """``value`` itself where it holds none. In a schema a null is a value like others, and stays."""
    if isinstance(value, list):
        kept = [_without_nulls(one) for one in value]
        return value if all(map(operator.is_, kept, value)) else kept
    if not isinstance(value, dict):
        return value
    members = {name: one if name == VERBATIM else _without_nulls(one) for name, one in value.items() if one is not None}
    same = len(members) == len(value) and all(members[name] is one for name, one in value.items())
    return value if same else members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _explained(error: ValidationError, value: Any) -> LumenError:
    """The most specific complaint. Of a member that may have several forms, the form that got furthest speaks; one
    that has the right type got further than one that has not."""
    found = error.errors(include_url=False, include_input=False)
    paths = [_path(one["loc"], one["type"], value) for one in found]
    worst, path = max(  # the first of equals
        zip(found, paths, strict=True), key=lambda one: (len(one[1]), one[0]["type"] == "value_error")
    )
    return _said(worst["type"], _name(path), worst)


def _said(kind: str, param: str, details: Any) -> LumenError:
    quoted = f"`{param}`"
    if kind == "json_invalid":
        deep = "recursion" in details["msg"]
        return MalformedBody(f"The JSON of this request is {'nested too deep' if deep else 'not well formed'}.")
    if not param:
        return InvalidParameter("The body of this request must be a JSON object.")
    if kind == UNKNOWN:
        return UnsupportedParameter(
            f"This box does not know the parameter {quoted}.",
            kept="Nothing was generated.",
            then="Leave it out: a parameter that is not supported is refused, never ignored.",
            param=param,
        )
    if kind == "missing":
        return InvalidParameter(f"The parameter {quoted} is missing.", param=param)
    if kind == "value_error":
        return InvalidParameter(f"The parameter {quoted} {details['ctx']['error']}.", param=param)
    if kind == "literal_error":
        return InvalidParameter(f"The parameter {quoted} can only be {details['ctx']['expected']}.", param=param)
    wanted = details["msg"].removeprefix("Input should be ")
    return InvalidParameter(f"The parameter {quoted} has the wrong type: it must be {wanted}.", param=param)


def _path(where: tuple[int | str, ...], kind: str, value: Any) -> list[int | str]:
    """The steps to what is wrong that exist in ``value``, and the member that is missing or unknown there.

    The validator also lists which form of a member it tried; such steps lead nowhere in the value and are left out.
    """
    path: list[int | str] = []
    for step in where:
        inside, value = _step(value, step)
        if inside or (step == where[-1] and kind in ("missing", UNKNOWN)):
            path.append(step)
    return path


def _step(value: Any, step: int | str) -> tuple[bool, Any]:
    """Whether ``step`` leads into ``value``, and what is there; ``value`` itself where it does not."""
    known = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
    return (True, value[step]) if step in known else (False, value)


def _name(path: list[int | str]) -> str:
    """``messages[0].content``"""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{str(step)[:SHOWN_NAME]}" for step in path)
    return text.lstrip(".").encode("ascii", "backslashreplace").decode()

"""Errors over the wire: OpenAI's shape, and the same class with the same words at the other end."""

from __future__ import annotations

from typing import Any

import pytest

from lumen_box.errors import LumenError, by_code
from lumen_box.schemas.errors import BadRequest, InvalidParameter, body_of, error_from


@pytest.mark.parametrize("kind", by_code().values(), ids=lambda kind: kind.code)
def test_every_error_comes_back_as_it_was(kind: type[LumenError]) -> None:
    back = error_from(body_of(kind("It broke.", kept="Nothing changed.", then="Try again.")))
    assert type(back) is by_code()[kind.code]
    assert (back.what, back.kept, back.then) == ("It broke.", "Nothing changed.", "Try again.")
    assert back.exit_code == kind.exit_code


def test_every_code_is_one_class() -> None:
    def family(root: type[LumenError]) -> list[type[LumenError]]:
        return [root, *(kind for child in root.__subclasses__() for kind in family(child))]

    own = [kind for kind in family(LumenError) if "code" in vars(kind) and kind is not BadRequest]
    assert len({kind.code for kind in own}) == len(own) > 30
    assert all(by_code()[kind.code] is kind for kind in own), "a class without a code of its own stands in for nobody"


@pytest.mark.parametrize(
    ("status", "type_"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"),
     (404, "invalid_request_error"), (429, "rate_limit_error"), (500, "server_error"), (503, "server_error")],
)  # fmt: skip
def test_the_type_follows_the_status(status: int, type_: str) -> None:
    kinds = [kind for kind in by_code().values() if kind.status == status]
    assert kinds and {body_of(kind("x"))["error"]["type"] for kind in kinds} == {type_}


def test_the_parameter_travels() -> None:
    back = error_from(body_of(InvalidParameter("wrong", param="stop[1]")))
    assert isinstance(back, InvalidParameter) and back.param == "stop[1]"


@pytest.mark.parametrize(
    "body",
    [None, 3, [], {}, {"error": "text"}, {"error": {}}, {"error": {"code": "nonsense", "message": "hm"}},
     {"error": {"code": 7}}],
    ids=str,
)  # fmt: skip
def test_an_error_of_no_known_form_is_still_an_error(body: Any) -> None:
    error = error_from(body, 502)
    assert type(error) is LumenError and error.what

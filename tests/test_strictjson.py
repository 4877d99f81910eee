"""What is signed, hashed or stored is read by one strict parser: everything else is refused."""

from __future__ import annotations

import json

import pytest

from lumen_box import strictjson
from lumen_box.errors import Damaged, TooNew
from lumen_box.strictjson import Fields


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'{"a":1,"a":2}', id="a key twice"),
        pytest.param(b'{"a":{"b":1,"b":1}}', id="a key twice, below"),
        pytest.param(b"[1.5]", id="a float"),
        pytest.param(b"[1e3]", id="a float without a point"),
        pytest.param(b"[NaN]", id="not a number"),
        pytest.param(b"[Infinity]", id="infinity"),
        pytest.param(b"[9007199254740992]", id="2**53"),
        pytest.param(b"[-9007199254740992]", id="-2**53"),
        pytest.param(b"[" + b"9" * 5000 + b"]", id="an integer of 5,000 digits"),
        pytest.param(b"[" * 33 + b"]" * 33, id="33 levels"),
        pytest.param(b"[" * 100_000, id="100,000 open brackets"),
        pytest.param(b'{"a":' * 40 + b"1" + b"}" * 40, id="40 objects deep"),
        pytest.param('["é"]'.encode(), id="UTF-8"),
        pytest.param(b"\xef\xbb\xbf[]", id="a byte-order mark"),
        pytest.param(b"[] []", id="two values"),
        pytest.param(b"[]\x00", id="a NUL behind it"),
        pytest.param('{"a":[1]}'.encode("utf-16-le"), id="UTF-16"),
        pytest.param('{"a":[1]}'.encode("utf-32-be"), id="UTF-32"),
        pytest.param(b'"\\', id="an open escape"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"['a']", id="single quotes"),
    ],
)
def test_what_is_not_strict_is_damaged(data: bytes) -> None:
    with pytest.raises(Damaged, match=r"^The thing "):
        strictjson.loads(data, what="The thing", max_bytes=1_000_000)


def test_an_open_string_of_escapes_takes_no_time() -> None:
    """A million escapes: anything but linear time would take hours."""
    with pytest.raises(Damaged):
        strictjson.loads(b'"' + b'\\"' * 1_000_000, what="The thing", max_bytes=10_000_000)


def test_the_cap_comes_before_parsing() -> None:
    with pytest.raises(Damaged, match="larger than the 10 bytes"):
        strictjson.loads(b"[" + b"1," * 10 + b"1]", what="The thing", max_bytes=10)


@pytest.mark.parametrize("value", [{"a": [1, -5, True, None, 'x[[["{']}, [], 2**53 - 1, -(2**53) + 1, "[" * 100])
def test_what_is_written_is_read_back(value: object) -> None:
    data = strictjson.dumps(value)
    assert data.isascii()
    assert strictjson.loads(data, what="It", max_bytes=1000) == value == json.loads(data)


def test_fields_refuse_what_is_missing_wrong_or_unknown() -> None:
    value = {"name": "ward", "count": 3, "flag": True}
    fields = Fields(value, "The record")
    assert fields.text("name") == "ward"
    assert fields.number("count", most=3) == 3
    with pytest.raises(TooNew, match="flag"):
        fields.end()
    with pytest.raises(Damaged, match="lacks the field 'other'"):
        fields.take("other", str)
    with pytest.raises(Damaged, match="not of type int"):
        Fields(value, "The record").number("flag")
    with pytest.raises(Damaged, match="not between 4 and 5"):
        Fields(value, "The record").number("count", least=4, most=5)
    with pytest.raises(Damaged, match="required form"):
        Fields({"name": "a\x00b"}, "The record").text("name")
    with pytest.raises(TooNew):
        Fields({"kind": "lora"}, "The record").one_of("kind", ["model"])
    assert value == {"name": "ward", "count": 3, "flag": True}

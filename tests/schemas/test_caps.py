"""Caps that a client must know without the code that enforces them."""

from __future__ import annotations

from lumen_box.schemas import admin
from lumen_box.trust.limits import MAX_BYTES
from lumen_box.vault.slots import KINDS, MAX_KEY_FILE, MAX_LABEL


def test_what_the_gateway_takes_is_what_the_box_can_use() -> None:
    assert MAX_BYTES["root"] == admin.MAX_ROOT
    assert admin.SlotKind.__args__ == KINDS  # type: ignore[attr-defined]
    assert admin.MAX_SECRET >= (MAX_KEY_FILE + 2) // 3 * 4
    assert admin.MAX_NAME >= MAX_LABEL

"""Numbers that sampling cannot work with are refused by name."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lumen_box.engine.sampling import MAX_SEED, Sampling
from lumen_box.errors import UsageError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, math.nan) for name in ("temperature", "top_p", "min_p", "repeat_penalty", "frequency_penalty")],
        *[("temperature", -0.1), ("temperature", math.inf), ("top_k", -1), ("top_p", 1.01), ("min_p", -0.01)],
        *[("repeat_penalty", 0.0), ("presence_penalty", math.inf), ("seed", -1), ("seed", MAX_SEED + 1)],
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=name):
        Sampling(**{name: value})


def test_the_edges_of_the_ranges_are_taken() -> None:
    assert Sampling(temperature=0.0, top_k=0, top_p=0.0, min_p=1.0, seed=MAX_SEED).greedy
    assert not Sampling(temperature=0.01).greedy

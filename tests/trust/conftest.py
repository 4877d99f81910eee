"""One publisher for the tests that only read, made once; tests that change one make their own."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from .simulator import Box, Medium, Publisher


@dataclass(frozen=True, repr=False)
class World:
    """A publisher and its second export; :meth:`box` makes a box that has pinned the root and seen nothing."""

    publisher: Publisher
    medium: Medium

    def box(self) -> Box:
        return Box(self.publisher.first_root)


@pytest.fixture(scope="session")
def world() -> World:
    publisher = Publisher()
    publisher.export("clinical/1.0.0")
    publisher.rotate("root")
    publisher.repository.put("software/lumen-box/1.1.0.json", b"release")
    return World(publisher, publisher.export("clinical/1.0.1"))

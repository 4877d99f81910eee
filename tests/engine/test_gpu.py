"""How many layers a GPU gets, from reports of devices such as they are."""

from __future__ import annotations

import os

import pytest

from lumen_box.engine import gpu, library
from lumen_box.engine.gpu import Demand, Device, layers_that_fit

GIB = 1 << 30
# An 8-billion-parameter model in Q4_K_M with 32 layers, and a 70-billion one in Q4_K_M with 80, caches included.
EIGHT = Demand(layers=32, layer_bytes=160 << 20, output_bytes=700 << 20)
SEVENTY = Demand(layers=80, layer_bytes=560 << 20, output_bytes=1600 << 20)

H100 = Device("CUDA0", 79 * GIB, 80 * GIB)
RTX4090 = Device("CUDA0", int(22.5 * GIB), 24 * GIB)
LAPTOP = Device("CUDA0", int(3.2 * GIB), 4 * GIB)
FULL = Device("CUDA0", 300 << 20, 24 * GIB)


@pytest.mark.parametrize(
    ("devices", "demand", "expected"),
    [
        ([], EIGHT, 0),
        ([H100], EIGHT, 33),
        ([H100], SEVENTY, 81),
        ([RTX4090], EIGHT, 33),
        ([RTX4090], SEVENTY, 36),
        ([RTX4090, RTX4090], SEVENTY, 72),
        ([LAPTOP], EIGHT, 15),
        ([FULL], EIGHT, 0),
        ([FULL, RTX4090], EIGHT, 33),
        ([H100], Demand(0, 0, 0), 0),
    ],
)
def test_as_many_layers_as_fit(devices: list[Device], demand: Demand, expected: int) -> None:
    assert layers_that_fit(devices, demand) == expected


def test_a_build_for_the_cpu_reports_no_gpu() -> None:
    found = gpu.devices(library.find(os.environ))
    assert all(device.total > 0 for device in found)

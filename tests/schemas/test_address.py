"""Unix sockets in folders deeper than the kernel's 107 bytes."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from lumen_box.schemas.address import socket_address


@pytest.mark.parametrize("depth", [0, 8])
def test_both_ends_meet_however_deep_the_folder(tmp_path: Path, depth: int) -> None:
    folder = tmp_path.joinpath(*["a-folder-with-a-long-name"] * depth)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "x.sock"
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        with socket_address(path) as address:
            listener.bind(address)
        listener.listen()
        with socket_address(path) as address:
            client.connect(address)
    assert path.is_socket() and len(os.listdir("/proc/self/fd")) == before


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), socket_address(tmp_path / ("x" * 120) / "y.sock"):
        pass

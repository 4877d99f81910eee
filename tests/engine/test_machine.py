"""How much memory there is, from the files of recorded machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from lumen_box.engine.machine import memory

GIB = 1 << 30
MEMINFO = "MemTotal:       25000000 kB\nMemFree:         1000000 kB\nMemAvailable:   20000000 kB\nHugePages_Total:  0\n"
V2 = "sys/fs/cgroup/system.slice/lumen-box.service"
V1 = "sys/fs/cgroup/memory/docker/ab12"

MACHINES: dict[str, tuple[dict[str, str], int, str]] = {
    "no groups": ({}, 20_000_000 * 1024, "machine"),
    "a group without a limit": (
        {
            "proc/self/cgroup": "0::/system.slice/lumen-box.service\n",
            f"{V2}/memory.max": "max\n",
            f"{V2}/memory.current": "5000\n",
        },
        20_000_000 * 1024,
        "machine",
    ),
    "a limit, and cache of files that can be taken back": (
        {
            "proc/self/cgroup": "0::/system.slice/lumen-box.service\n",
            f"{V2}/memory.max": f"{8 * GIB}\n",
            f"{V2}/memory.current": f"{3 * GIB}\n",
            f"{V2}/memory.stat": f"anon {GIB}\nfile {2 * GIB}\ninactive_file {2 * GIB}\n",
        },
        7 * GIB,
        "control group",
    ),
    "the limit of a group above": (
        {
            "proc/self/cgroup": "0::/system.slice/lumen-box.service\n",
            f"{V2}/memory.max": f"{8 * GIB}\n",
            f"{V2}/memory.current": "0\n",
            "sys/fs/cgroup/system.slice/memory.max": f"{4 * GIB}\n",
            "sys/fs/cgroup/system.slice/memory.current": f"{GIB}\n",
        },
        3 * GIB,
        "control group",
    ),
    "a group that has used more than it may": (
        {
            "proc/self/cgroup": "0::/system.slice/lumen-box.service\n",
            f"{V2}/memory.max": f"{GIB}\n",
            f"{V2}/memory.current": f"{2 * GIB}\n",
        },
        0,
        "control group",
    ),
    "version 1, in a container": (
        {
            "proc/self/cgroup": "9:name=systemd:/docker/ab12\n4:cpu,memory:/docker/ab12\n0::/\n",
            f"{V1}/memory.limit_in_bytes": f"{2 * GIB}\n",
            f"{V1}/memory.usage_in_bytes": f"{GIB}\n",
            f"{V1}/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB // 2}\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
        2 * GIB - GIB // 2,
        "control group",
    ),
}


@pytest.mark.parametrize(("files", "available", "limit"), MACHINES.values(), ids=MACHINES)
def test_the_least_of_all_limits_counts(tmp_path: Path, files: dict[str, str], available: int, limit: str) -> None:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = memory(tmp_path)
    assert found.available == available
    assert limit in found.limit


def test_this_machine_has_some() -> None:
    found = memory()
    assert 0 < found.available <= found.total

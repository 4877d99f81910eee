"""Each serving benchmark once, shortly, against a real box. llama-server is not built here: only our side is tried."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import fairness, prefix, servers, serving, soak
from tests.attacks.serving import add_talker, shell_of
from tests.support.scene import Scene

PEOPLE = 4
SHAPE = servers.Shape(parallel=PEOPLE, context=2048, threads=1, cache_mib=soak.CACHE_MIB)


@pytest.fixture(scope="module")
def server(_scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """A box that serves a model which talks until it is stopped, with a token for each of the soak's clients."""
    scene = _scene.copy(tmp_path_factory.mktemp("box") / "scene")
    add_talker(scene, context=SHAPE.context)
    scene.install(wanted="clinical@2.0.0")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in shell_of(scene).environment.items():
            patch.setenv(name, value)
        servers.material.say("--home", str(scene.home.root), "model", "activate", "clinical")
        with servers.serve(scene.home.root, SHAPE, 64) as server:
            for name, value in server.environment().items():
                patch.setenv(name, value)
            yield server


def measured(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    measures: dict[str, float] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return measures


@pytest.mark.slow
def test_serving_counts_every_token(server: servers.Server, capsys: pytest.CaptureFixture[str]) -> None:
    serving.load([server.url, "--clients", str(PEOPLE), "--tokens", "8"])
    measures = measured(capsys)
    assert set(measures) == {aim.measure for aim in serving.AIMS}
    assert (
        measures["rate"] > 0 and measures["first"] <= measures["first p95"] and measures["gap"] <= measures["gap p99"]
    )


@pytest.mark.slow
def test_prefix_publishes_its_prompt_and_finds_it_kept(
    server: servers.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix.load([server.url, "--clients", str(PEOPLE), "--tokens", "8", "--system", "120", "--publish"])
    measures = measured(capsys)
    assert set(measures) == {aim.measure for aim in prefix.AIMS}
    assert measures["cached"] > 120, "most of a prompt of 120 words, which are more tokens"


@pytest.mark.slow
def test_fairness_measures_gaps_with_and_without_a_document(
    server: servers.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    fairness.load([server.url, "--people", str(PEOPLE - 1), "--words", "900", "--seconds", "0.5"])
    measures = measured(capsys)
    assert set(measures) == {aim.measure for aim in fairness.AIMS}
    assert measures["prompt"] > 900 and measures["document"] > 0


@pytest.mark.slow
def test_a_soak_of_ninety_seconds_with_sixty_four_clients(
    server: servers.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert soak.soak(server, 90.0, SHAPE.parallel) == [], capsys.readouterr().out


def test_the_benchmarks_that_take_options_say_which(capsys: pytest.CaptureFixture[str]) -> None:
    for module in (serving, prefix, fairness, soak):
        with pytest.raises(SystemExit) as end:
            module.main(["--help"])
        assert end.value.code == 0 and "--model" in capsys.readouterr().out


def test_processes_of_a_box_are_found_by_its_socket(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        servers.Processes.of(tmp_path)

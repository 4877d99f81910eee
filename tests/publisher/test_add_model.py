"""Adding models: what comes out is what went in, what is unsound stays out, and nothing is left half done."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lumen_box.errors import Damaged, LumenError, NoSpace, NotFound, PartMissing, TooNew, UsageError
from lumen_box.gguf import values as v
from lumen_box.gguf.split import Model
from lumen_box.gguf.writer import NewTensor, write_gguf
from lumen_box.progress import Advance, Event, Step, silent
from lumen_box.publisher.export import export
from lumen_box.publisher.model import NewModel, add_model, describe_again
from lumen_box.publisher.workspace import Workspace
from tests.support import bad_gguf
from tests.support.crash import FailingDisk
from tests.support.tiny_bert import RANK, write_tiny_bert
from tests.support.tiny_model import TEMPLATE, write_tiny_model

from .people import PASSPHRASE, Box, content

WANTED = NewModel("clinical", "2.0.0", segment_chunks=1, part_segments=1)

LARGE = NewModel("clinical", "2.0.0", segment_chunks=32, part_segments=2)


def carried(workspace: Workspace, box: Box, where: Path, version: str = "2.0.0") -> bytes:
    """The model as the box decrypts it."""
    export(workspace, where, silent)
    return box.model(where, workspace.repository().root, version=version)


def test_a_box_gets_exactly_the_file(workspace: Workspace, box: Box, gguf: Path, tmp_path: Path) -> None:
    manifest = add_model(workspace, gguf, WANTED, silent)
    assert manifest.model.slices.parts >= 3
    assert carried(workspace, box, tmp_path / "usb") == gguf.read_bytes()


def test_the_manifest_says_what_the_file_says(workspace: Workspace, gguf: Path) -> None:
    manifest = add_model(workspace, gguf, WANTED, silent)
    assert manifest == workspace.manifests()["models/clinical/2.0.0.json"]
    assert (manifest.architecture, manifest.context, manifest.role) == ("llama", 512, "chat")
    assert manifest.template == TEMPLATE
    assert manifest.licence == "Apache-2.0"
    assert manifest.reasoning == ("<think>", "</think>")
    with Model(gguf) as model:
        assert manifest.parameters == model.gguf.parameter_count
    assert manifest.model.size == gguf.stat().st_size


def test_the_publisher_may_say_otherwise(workspace: Workspace, gguf: Path) -> None:
    said = replace(
        WANTED, role="embedding", licence="Own", card="# Card", template="{{ x }}", guess_reasoning=False, release=9
    )
    manifest = add_model(workspace, gguf, said, silent)
    assert (manifest.role, manifest.licence, manifest.card, manifest.release) == ("embedding", "Own", "# Card", 9)
    assert (manifest.template, manifest.reasoning) == ("{{ x }}", None)
    marked = add_model(workspace, gguf, replace(WANTED, version="3", reasoning=("[", "]")), silent)
    assert marked.reasoning == ("[", "]")


def test_releases_grow_by_themselves(workspace: Workspace, gguf: Path) -> None:
    def released(name: str, version: str, release: int | None = None, least: int | None = None) -> tuple[int, int]:
        wanted = NewModel(name, version, release, least, segment_chunks=1, part_segments=2)
        manifest = add_model(workspace, gguf, wanted, silent)
        return manifest.release, manifest.min_release

    assert released("clinical", "1.1") == (2, 0)
    assert released("clinical", "1.2", least=2) == (3, 2)
    assert released("clinical", "1.3") == (4, 2)
    assert released("clinical", "2.0", release=10) == (10, 2)
    assert released("clinical", "2.1") == (11, 2)
    assert released("other", "1.0") == (1, 0)


def test_a_new_card_or_template_needs_no_new_object(workspace: Workspace, box: Box, gguf: Path, tmp_path: Path) -> None:
    before = workspace.manifests()["models/clinical/1.0.0.json"]
    manifest = describe_again(workspace, "clinical@1.0.0", replace(WANTED, template="{{ y }}", card="# New"))
    assert manifest.objects == before.objects
    assert (manifest.template, manifest.card, manifest.release) == ("{{ y }}", "# New", 2)
    assert len(list((workspace.folder / "objects").iterdir())) == 1
    assert carried(workspace, box, tmp_path / "usb") == gguf.read_bytes()


@pytest.mark.parametrize(("old", "error"), [("clinical@9", NotFound), ("clinical", UsageError), ("../x@1", UsageError)])
def test_only_a_known_version_is_described_again(workspace: Workspace, old: str, error: type[LumenError]) -> None:
    with pytest.raises(error):
        describe_again(workspace, old, WANTED)


NAMES = ["..", "../x", "a/b", "a\0b", "Clinical", "", "-x", ".x", "a..b", "a b", "x" * 65, "ä", "a\n"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", ["name", "version"])
def test_bad_names(workspace: Workspace, folder: Path, gguf: Path, field: str, name: str) -> None:
    before = content(folder)
    wanted = NewModel(name, "1") if field == "name" else NewModel("a", name)
    with pytest.raises(UsageError, match=f"cannot be the {field}"):
        add_model(workspace, gguf, wanted, silent)
    assert content(folder) == before


REFUSED: list[tuple[str, NewModel, str]] = [
    ("a version that exists", replace(WANTED, version="1.0.0"), "already"),
    ("least release above the release", replace(WANTED, release=2, min_release=3), "min_release"),
    ("a release beyond", replace(WANTED, release=2**31), "release"),
    ("a licence of two lines", replace(WANTED, licence="a\nb"), "licence"),
    ("a card with a zero", replace(WANTED, card="\0"), "card"),
    ("half a character in the template", replace(WANTED, template="\udcff"), "template"),
    ("an empty marker", replace(WANTED, reasoning=("", "x")), "markers"),
    ("segments of nothing", replace(WANTED, segment_chunks=0), "segment of 0"),
    ("segments too large", replace(WANTED, segment_chunks=4097), "segment of 4097"),
    ("parts too large", replace(WANTED, part_segments=64), "part of 64"),
]


@pytest.mark.parametrize(("wanted", "names"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_no_manifest_could_hold_is_refused_before_any_work(
    workspace: Workspace, folder: Path, gguf: Path, wanted: NewModel, names: str
) -> None:
    before = content(folder)
    with pytest.raises(UsageError, match=names):
        add_model(workspace, gguf, wanted, silent)
    assert content(folder) == before


def test_a_chat_model_needs_a_template(workspace: Workspace, tmp_path: Path) -> None:
    bare = write_tiny_model(tmp_path / "bare.gguf", merges=40, width=32, layers=1, template=None)
    with pytest.raises(UsageError, match="--template"):
        add_model(workspace, bare, WANTED, silent)
    assert add_model(workspace, bare, replace(WANTED, role="embedding"), silent).template is None
    assert add_model(workspace, bare, replace(WANTED, version="3", template="{{ x }}"), silent).template == "{{ x }}"


def test_a_model_that_only_reads_is_for_embedding_and_cannot_be_for_chat(workspace: Workspace, tmp_path: Path) -> None:
    bert = write_tiny_bert(tmp_path / "bert.gguf", pooling=None, causal=None)
    with pytest.raises(UsageError, match="cannot chat"):
        add_model(workspace, bert, replace(WANTED, role="chat", template="{{ x }}"), silent)
    assert add_model(workspace, bert, WANTED, silent).role == "embedding"
    ranks = write_tiny_bert(tmp_path / "rank.gguf", pooling=RANK)
    with pytest.raises(TooNew, match="ranks texts"):
        add_model(workspace, ranks, replace(WANTED, version="3"), silent)


def test_every_unsound_file_is_refused_and_nothing_changes(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    before, tried = content(folder), 0
    for bad in bad_gguf.files():
        (tmp_path / "bad.gguf").write_bytes(bad.data)
        with pytest.raises(bad.error) as caught:
            add_model(workspace, tmp_path / "bad.gguf", WANTED, silent)
        assert caught.value.exit_code in (22, 25), bad.name
        tried += 1
    print(f"refused {tried} files")
    assert tried > 100
    assert content(folder) == before


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: None, NotFound),
        (Path.mkdir, UsageError),
        (os.mkfifo, UsageError),
        (lambda path: path.symlink_to("/dev/zero"), UsageError),
        (Path.touch, Damaged),
    ],
    ids=["missing", "a folder", "a FIFO", "a device", "empty"],
)
def test_what_is_no_file(
    workspace: Workspace, tmp_path: Path, make: Callable[[Path], object], error: type[LumenError]
) -> None:
    make(tmp_path / "model.gguf")
    with pytest.raises(error):
        add_model(workspace, tmp_path / "model.gguf", WANTED, silent)


def cut(whole: Path, folder: Path, parts: int = 3) -> list[Path]:
    """Splits a model as llama.cpp's own tool does."""
    raw, paths = whole.read_bytes(), []
    with Model(whole) as model:
        gguf = model.gguf
    share = len(gguf.tensors) // parts + 1
    for number in range(parts):
        metadata = dict(gguf.metadata) if number == 0 else {}
        metadata |= {"split.no": v.u16(number), "split.count": v.u16(parts)}
        metadata["split.tensors.count"] = v.Value(v.ValueType.I32, len(gguf.tensors))
        tensors = [
            NewTensor(item.name, item.shape, item.type, [raw[gguf.data_offset + item.offset :][: item.size]])
            for item in gguf.tensors[number * share : (number + 1) * share]
        ]
        paths.append(folder / f"m-{number + 1:05}-of-{parts:05}.gguf")
        write_gguf(paths[-1], metadata, tensors)
    return paths


def test_a_split_model_arrives_in_one_piece(workspace: Workspace, box: Box, gguf: Path, tmp_path: Path) -> None:
    parts = cut(gguf, tmp_path)
    add_model(workspace, parts[1], WANTED, silent)
    assert carried(workspace, box, tmp_path / "usb") == gguf.read_bytes()


def test_a_split_model_with_a_part_missing_is_named(
    workspace: Workspace, folder: Path, gguf: Path, tmp_path: Path
) -> None:
    before, parts = content(folder), cut(gguf, tmp_path)
    parts[2].unlink()
    with pytest.raises(PartMissing, match="m-00003-of-00003"):
        add_model(workspace, parts[0], WANTED, silent)
    assert content(folder) == before


def at_first_advance(act: Callable[[], object]) -> Callable[[Event], None]:
    done = False

    def report(event: Event) -> None:
        nonlocal done
        if isinstance(event, Advance) and not done:
            done = True
            act()

    return report


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Several pieces long, so that something can happen between two of them."""
    return write_tiny_model(tmp_path / "large.gguf", width=256, layers=3, hidden=1024, quantisation="F16")


def overwrite_head(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(200)
        file.write(b"XXXX")


def test_a_file_that_is_cut_while_it_is_read_is_refused(workspace: Workspace, folder: Path, large: Path) -> None:
    before = content(folder)
    with pytest.raises(Damaged):
        add_model(workspace, large, LARGE, at_first_advance(lambda: os.truncate(large, 2 << 20)))
    assert content(folder) == before


def test_a_header_that_changes_after_it_was_checked_is_refused(workspace: Workspace, folder: Path, large: Path) -> None:
    before = content(folder)

    def report(event: Event) -> None:
        if event == Step("Encrypting"):
            overwrite_head(large)

    with pytest.raises(Damaged):
        add_model(workspace, large, LARGE, report)
    assert content(folder) == before


def test_interrupted_it_leaves_nothing(workspace: Workspace, folder: Path, large: Path) -> None:
    before = content(folder)

    def interrupt() -> None:
        assert any((folder / "staging").iterdir())  # there is something to be left
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_model(workspace, large, LARGE, at_first_advance(interrupt))
    assert content(folder) == before
    assert list((folder / "staging").iterdir()) == []
    add_model(workspace, large, LARGE, silent)


def test_progress_goes_from_nothing_to_the_whole(workspace: Workspace, large: Path) -> None:
    events: list[Event] = []
    add_model(workspace, large, LARGE, events.append)
    steps = [event.title for event in events if isinstance(event, Step)]
    assert steps == ["Checking large.gguf", "Encrypting", "Signing"]
    advances = [event for event in events if isinstance(event, Advance)]
    assert len(advances) > 2
    assert [item.done for item in advances] == sorted(item.done for item in advances)
    assert advances[-1].done == advances[-1].total == large.stat().st_size


def test_a_disk_without_room_is_noticed_before_any_work(
    workspace: Workspace, folder: Path, gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, full = content(folder), os.statvfs(folder)
    told = os.statvfs_result([*full[:4], 3, *full[5:]])
    monkeypatch.setattr(os, "statvfs", lambda path: told)
    with pytest.raises(NoSpace):
        add_model(workspace, gguf, WANTED, silent)
    assert content(folder) == before


@pytest.mark.parametrize("at", [4, 6, 8])
def test_a_disk_that_fills_up_meanwhile_gives_back_what_was_taken(folder: Path, large: Path, at: int) -> None:
    before = content(folder)
    disk = FailingDisk(errno.ENOSPC, at)
    with Workspace.open(folder, PASSPHRASE, disk=disk) as workspace, pytest.raises(NoSpace, match="full"):
        add_model(workspace, large, LARGE, silent)
    assert content(folder) == before

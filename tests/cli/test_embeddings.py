"""An embedding model from the publisher's file to an OpenAI client: installed, activated, asked, and told apart."""

from __future__ import annotations

import numpy as np
import openai
import pytest

from lumen_box.publisher.model import add_model
from tests.attacks.serving import Serving, serving
from tests.support.scene import Scene, new_model
from tests.support.tiny_bert import write_tiny_bert

TEXTS = ["the nurse asks", "a letter of discharge", "every step is written down"]


def add_embedding(scene: Scene, version: str, **shape: object) -> None:
    gguf = write_tiny_bert(scene.folder / "bert.gguf", **shape)  # type: ignore[arg-type]
    with scene.publisher() as workspace:
        add_model(workspace, gguf, new_model("search", version), lambda event: None)
    gguf.unlink()
    scene.export()


def test_an_embedding_model_serves_beside_a_chat_model(scene: Scene) -> None:
    """One box for all of it: starting is what takes the time."""
    add_embedding(scene, "1.0.0")
    add_embedding(scene, "2.0.0", seed=2)
    with serving(scene) as box:
        for model in ("clinical@1.0.0", "search@1.0.0", "search@2.0.0"):
            box.shell("model", "install", str(scene.usb), model)
        box.shell("model", "activate", "clinical@1.0.0")
        assert box.shell("model", "show", "search@1.0.0", "--json").json["role"] == "embedding"
        with pytest.raises(openai.APIStatusError, match="not active"):
            ask(box, TEXTS)
        box.shell("model", "activate", "search@1.0.0")
        assert {one["role"] for one in box.shell("status", "--json").json["models"]} == {"chat", "embedding"}
        listed = box.shell("model", "list").out.splitlines()
        assert all(("embedding" if "/search@" in line else "chat") in line.split() for line in listed)
        assert "search@1.0.0 (embedding)" in box.shell("status").out
        first = gives_vectors_in_order(box)
        refuses_what_is_not_supported(box)
        asked_for_the_wrong_thing_it_says_so(box)
        needs_a_scope_of_its_own(box)
        box.shell("model", "activate", "search@2.0.0")
        assert not np.allclose(ask(box, TEXTS), first)
        box.shell("model", "rollback", "search")
        assert np.allclose(ask(box, TEXTS), first, atol=1e-6)


def client(box: Serving, *scopes: str) -> openai.OpenAI:
    token = box.token(*(scopes or ("chat", "embeddings")), name=f"client for {' '.join(scopes)}")["token"]
    return openai.OpenAI(base_url=f"{box.url}/v1", api_key=token, max_retries=0)


def ask(box: Serving, texts: list[str], **more: object) -> np.ndarray:  # type: ignore[type-arg]
    with client(box) as api:
        answer = api.embeddings.create(model=more.pop("model", "search"), input=texts, **more)  # type: ignore[call-overload]
    assert [one.index for one in answer.data] == list(range(len(texts)))
    return np.array([one.embedding for one in answer.data])


def gives_vectors_in_order(box: Serving) -> np.ndarray:  # type: ignore[type-arg]
    packed, plain = ask(box, TEXTS), ask(box, TEXTS, encoding_format="float")
    assert packed.shape == (3, 64) and np.allclose(packed, plain, atol=1e-7)
    assert np.allclose(np.linalg.norm(packed, axis=1), 1, atol=1e-5)
    assert np.allclose(ask(box, TEXTS[::-1])[::-1], packed, atol=2e-3)
    with box.client() as local:
        body = local.post("/v1/embeddings", json={"input": [[5, 6], [7]], "dimensions": 64}).json()
    assert body["object"] == "list" and body["model"].endswith("/search")
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    return packed


def refuses_what_is_not_supported(box: Serving) -> None:
    wrong = (
        ({"input": TEXTS, "dimensions": 32}, 400, "64"),
        ({"input": ["", "x"]}, 400, "input"),
        ({"input": ["x", 5]}, 400, "not both"),
        ({"input": []}, 400, "input"),
        ({"input": ["nurse " * 500]}, 400, "256"),
        ({"input": ["x"] * 2049}, 400, "2048"),
        ({"input": "x", "stream": True}, 400, "stream"),
        ({"input": "x", "model": "nothing"}, 404, "nothing"),
    )
    with box.client() as local:
        for body, status, words in wrong:
            response = local.post("/v1/embeddings", json=body)
            assert response.status_code == status and words in response.text, (body, response.text)
        assert local.post("/v1/embeddings", json={"input": "x"}).status_code == 200


def asked_for_the_wrong_thing_it_says_so(box: Serving) -> None:
    with box.client() as local:
        chat = local.post(
            "/v1/chat/completions", json={"model": "search", "messages": [{"role": "user", "content": "x"}]}
        )
        assert chat.status_code == 400 and "is an embedding model" in chat.text
        vectors = local.post("/v1/embeddings", json={"model": "clinical", "input": "x"})
        assert vectors.status_code == 400 and "is a chat model" in vectors.text
        assert local.get("/v1/models/search").json()["role"] == "embedding"
    refused = box.shell("chat", "--model", "search", code=2)
    assert "is an embedding model" in refused.err


def needs_a_scope_of_its_own(box: Serving) -> None:
    with client(box, "chat", "models") as api, pytest.raises(openai.PermissionDeniedError, match="embeddings"):
        api.embeddings.create(model="search", input=TEXTS)
    with client(box, "embeddings") as api, pytest.raises(openai.PermissionDeniedError, match="chat"):
        api.chat.completions.create(model="clinical", messages=[{"role": "user", "content": "x"}])

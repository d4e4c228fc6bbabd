"""The server of trained runs: its API, its limits, its pages."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import pytest
import safetensors.torch

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

from starlette.testclient import TestClient

import regard
from regard.errors import UserError
from regard.server.app import make_app
from regard.server.files import FILES
from regard.server.limits import Limits
from regard.server.operations import INPUT, Operation, operations
from regard.server.running import check_host
from regard.server.served import ServedRun, open_runs
from regard.tasks import table
from regard.tasks.running import train
from regard.tasks.spec import TaskSpec

HERE = "http://127.0.0.1:8000"


class Trained(NamedTuple):
    """A trained run on a server, with inputs for it."""

    served: ServedRun
    inputs: list[str]
    folder: Path


def _trained(spec: TaskSpec, folder: Path) -> Trained:
    train(spec.name, spec.demo.tiny(), folder / "run")
    (served,) = open_runs([folder / "run"], "best")
    return Trained(served, spec.load().inputs(spec.demo.tiny(), folder), folder / "run")


@pytest.fixture(scope="module", params=table.TASKS, ids=lambda spec: spec.name)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return _trained(request.param, tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return _trained(table.spec_of("classify-text"), tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return _trained(table.spec_of("classify-image"), tmp_path_factory.mktemp("images"))


@pytest.fixture
def client(texts: Trained, images: Trained) -> Iterator[TestClient]:
    both = [texts.served, dataclasses.replace(images.served, name="images")]
    with TestClient(make_app(both, Limits(megabytes=0.2, characters=500)), base_url=HERE) as opened:
        yield opened


def _post(client: TestClient, served: ServedRun, operation: Operation, item: str, **values: Any) -> Any:
    """A request for an input, as `regard.tasks.task.Task.inputs` gives it."""
    path = f"/api/runs/{served.name}/{operation.path}"
    if operation.file == INPUT:
        return client.post(path, params=values, content=Path(item).read_bytes())
    names = operation.parts or (INPUT,)
    given = dict(zip(names, item.split("\t") if operation.parts else [item], strict=True))
    return client.post(path, json={**given, **values})


def _reason(response: Any, status: int) -> str:
    """The reason of a response that has this status."""
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]
    assert "Traceback" not in response.text
    reason: str = response.json()["error"]
    return reason


def test_every_task_predicts_and_shows_what_it_attended_to(trained: Trained) -> None:
    served, (item, *_), _ = trained
    steady = {"seed": 0} if served.spec.name == "generate" else {}
    with TestClient(make_app([served]), base_url=HERE) as client:
        for operation in served.operations:
            if operation.file not in ("", INPUT):
                continue
            own = steady if operation.command == "predict" else {}
            response = _post(client, served, operation, item, **own)
            assert response.status_code == 200, response.text
            assert response.headers["content-type"] == "application/json"
            assert "/regard-" not in response.text
        look = next(one for one in served.operations if one.command == "look")
        seen = {"threshold": 0.01} if served.spec.name == "detect" else {}  # it has found nothing in three steps
        drawn = _post(client, served, look, item, **seen, **{"as": "png"})
        assert drawn.content.startswith(b"\x89PNG")
        document = _post(client, served, look, item, **seen, **{"as": "document"})
        assert document.headers["content-type"] == "application/octet-stream"
        assert len(safetensors.torch.load(document.content)) >= 1
        assert b"/regard-" not in document.content
        (result,) = served.predictor.predict([item], **steady)
        expected = json.dumps(result.to_dict())
        if served.spec.served.media:
            expected = expected.replace(json.dumps(item), '"upload"')
        assert _post(client, served, served.operations[0], item, **steady).json() == json.loads(expected)


def test_a_request_names_no_file_of_the_server() -> None:
    """Options that are files are uploads or texts, or no request has them."""
    for spec in table.TASKS:
        for operation in operations(spec):
            hints = get_type_hints(operation.options)
            for one in operation.asked:
                if hints.get(one.name) in (Path, Path | None):
                    assert one.name in (*operation.texts, *operation.parts)


def test_several_runs_on_one_server_are_listed(client: TestClient) -> None:
    runs = client.get("/api/runs").json()["runs"]
    assert [(one["name"], one["task"]) for one in runs] == [("run", "classify-text"), ("images", "classify-image")]
    assert client.get("/api/runs/images").json() == runs[1]
    assert "/api/runs" in _reason(client.get("/api/runs/other"), 404)


def test_runs_in_folders_of_the_same_name_have_different_ones(texts: Trained, tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(texts.folder)
    assert [one.name for one in open_runs([texts.folder, tmp_path / "run"], "best")] == ["run", "run-2"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "body: not JSON (Expecting property name"),
        (b"[]", "body: "),
        (b"{}", "input: Field required"),
        (b'{"input": 3}', "input: Input should be a valid string"),
        (b'{"input": "\\ud800"}', "input: "),
        (b'{"input": "a", "top": 0}', "top: Input should be greater than or equal to 1"),
        (b'{"input": "a", "top": "3"}', "top: Input should be a valid integer"),
        (b'{"input": "a", "top": 1000000}', "top: Input should be less than or equal to 1000"),
        (b'{"input": "a", "tops": 1}', "tops: Extra inputs are not permitted"),
        (b'{"input": "%s"}' % (501 * b"a"), "input: String should have at most 500 characters"),
    ],
)
def test_a_malformed_request_is_told_why(client: TestClient, content: bytes, reason: str) -> None:
    response = client.post("/api/runs/run/predict", content=content, headers={"content-type": "application/json"})
    assert reason in _reason(response, 422)


def test_a_body_of_nested_lists_is_no_error_of_the_server(client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    assert "body" in _reason(client.post("/api/runs/run/predict", content=b"[" * 100_000, headers=headers), 400)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "upload: not a usable image: the file is empty"),
        (b"no image", "upload: not a usable image: its content is not an image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "upload: not a usable image"),
    ],
)
def test_a_bad_file_is_told_why(client: TestClient, content: bytes, reason: str) -> None:
    assert reason in _reason(client.post("/api/runs/images/predict", content=content), 422)


def test_a_body_that_is_too_large_is_refused_with_the_limit(client: TestClient) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(30):
            yield bytes(10_000)

    for content in (bytes(200_001), parts()):  # with its length in the head, and without
        assert "larger than 0.2 MB" in _reason(client.post("/api/runs/images/predict", content=content), 413)


def test_a_form_is_no_file(client: TestClient) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert "send the file itself" in _reason(
        client.post("/api/runs/images/predict", content=b"--x", headers=headers), 415
    )


def test_other_sites_and_names_are_refused(client: TestClient) -> None:
    assert "--name" in _reason(client.get("/api/runs", headers={"host": "evil.example"}), 403)
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9000"):
        assert origin in _reason(client.get("/api/runs", headers={"origin": origin}), 403)
    allowed = client.get("/api/runs", headers={"origin": HERE})
    assert allowed.status_code == 200
    assert "access-control-allow-origin" not in allowed.headers


def test_a_token_is_needed_where_there_is_one(texts: Trained) -> None:
    with TestClient(make_app([texts.served], token="word"), base_url=HERE) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic word"}):
            for path in ("/api/runs", "/metrics", "/openapi.json", "/api/nothing"):
                assert "token" in _reason(client.get(path, headers=headers), 401)
        right = {"authorization": "Bearer word"}
        assert client.get("/api/runs", headers=right).status_code == 200
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/runs/run").status_code == 200


def test_other_machines_need_a_token() -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        check_host(host, None)
    check_host("0.0.0.0", "word")
    with pytest.raises(UserError, match="ASCII"):
        check_host("127.0.0.1", "öffne dich")
    for host in ("0.0.0.0", "::", "example.org"):
        with pytest.raises(UserError, match="token"):
            check_host(host, None)


def test_pages_and_their_files_have_a_strict_policy(client: TestClient) -> None:
    pages = [client.get(path) for path in ("/", "/runs/run", "/runs/images", *(f"/static/{name}" for name in FILES))]
    for page in pages:
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
    assert {page.headers["content-type"].partition(";")[0] for page in pages} == {
        "text/html", "text/javascript", "text/css",
    }  # fmt: skip


@pytest.mark.parametrize(
    "path", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "..%5capp.py", "/etc/passwd", "run.html", ""]
)
def test_no_address_names_another_file(client: TestClient, path: str) -> None:
    assert client.get(f"/static/{path}").status_code == 404


def test_the_files_of_pages_and_of_the_viewer_have_different_names() -> None:
    folders = [Path(regard.__file__).parent / name / "static" for name in ("server", "viewer")]
    own, viewers = ({one.name for one in folder.iterdir()} for folder in folders)
    assert not own & viewers
    assert {name for name in own | viewers if not name.endswith(".html")} == FILES.keys()


def test_figures_count_requests_and_batches(client: TestClient) -> None:
    client.post("/api/runs/run/predict", json={"input": "a"})
    client.get("/made/up/by/the/client")
    text = client.get("/metrics").text
    assert 'regard_requests_total{path="/api/runs/run/predict",status="200"} 1.0' in text
    assert 'regard_requests_total{path="other",status="404"} 1.0' in text
    assert "regard_batch_requests_count 1.0" in text
    assert "made" not in text

"""A server under load: its queue, batches, slow and gone clients, and its end."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

from regard.server.limits import Limits
from regard.server.running import listen
from regard.tasks import table
from regard.tasks.running import load, train
from server_running import Gated, command, head_of, received, running, sent


@pytest.fixture
def gated() -> Iterator[Gated]:
    predictor = Gated()
    yield predictor
    predictor.gate.set()


def test_requests_are_computed_together_and_those_of_similar_length_first(gated: Gated) -> None:
    limits = Limits(batch=4, delay=0.0)
    with running(gated, limits) as address:
        first = sent(address, "0")
        assert gated.begun.wait(10)
        items = ["12", "34567890", "1234567", "56", "78", "23456789"]
        waiting = []
        for item in items:  # in this order
            waiting.append(sent(address, item))
            time.sleep(0.05)
        gated.gate.set()
        assert received(first)[2]["number"] == "0"
        assert [received(one)[2]["number"] for one in waiting] == items
    assert gated.batches == [["0"], ["12", "56", "78", "1234567"], ["34567890", "23456789"]]


def test_a_first_request_waits_for_others_only_so_long(gated: Gated) -> None:
    gated.gate.set()
    with running(gated, Limits(delay=1.0, batch=3)) as address:
        begun = time.monotonic()
        assert received(sent(address, "1"))[0] == 200
        assert time.monotonic() - begun > 1.0
    assert gated.batches == [["1"]]


def test_a_full_batch_does_not_wait(gated: Gated) -> None:
    gated.gate.set()
    with running(gated, Limits(delay=3600.0, batch=3)) as address:  # a response after the delay would be too late
        three = [sent(address, item) for item in "234"]
        assert [received(one)[0] for one in three] == [200, 200, 200]
    assert [len(batch) for batch in gated.batches] == [3]


def test_a_full_queue_says_when_to_come_again(gated: Gated) -> None:
    with running(gated, Limits(waiting=2, batch=1)) as address:
        computed = sent(address, "1")
        assert gated.begun.wait(10)
        waiting = [sent(address, "2"), sent(address, "3")]
        time.sleep(0.2)
        status, head, content = received(sent(address, "4"))
        assert status == 503
        assert "2 requests wait, the limit (--waiting)" in content["error"]
        assert 1 <= int(head["retry-after"]) <= 60
        gated.gate.set()
        assert [received(one)[0] for one in (computed, *waiting)] == [200, 200, 200]
    assert gated.items == ["1", "2", "3"]


def test_clients_that_are_gone_are_not_computed_and_harm_nobody(gated: Gated) -> None:
    with running(gated, Limits(batch=10)) as address:
        computed = sent(address, "1")
        assert gated.begun.wait(10)
        gone = [sent(address, str(item)) for item in range(10, 20)]
        stays = sent(address, "2")
        half = socket.create_connection(address)
        half.sendall(head_of(address, 1000) + b"{")
        time.sleep(0.2)
        for one in (*gone, half):
            one.close()
        time.sleep(0.2)
        gated.gate.set()
        assert [received(one)[0] for one in (computed, stays, sent(address, "3"))] == [200, 200, 200]
    assert gated.items == ["1", "2", "3"]


def test_a_slow_body_is_told_why(gated: Gated) -> None:
    with running(gated, Limits(seconds=0.4)) as address:
        for part in (b"", b'{"input": '):
            connection = socket.create_connection(address, timeout=10)
            connection.sendall(head_of(address, 100) + part)
            status, head, content = received(connection)
            assert status == 408
            assert content["error"] == "body: not complete after 0.4 seconds, the limit (--seconds)"
            assert head["connection"] == "close"


def test_a_head_that_does_not_arrive_closes_its_connection(gated: Gated) -> None:
    gated.gate.set()
    with running(gated, Limits(seconds=1.0)) as address:
        for begun in (b"", b"GET / HTTP/1.1\r\n"):
            with socket.create_connection(address, timeout=10) as connection:
                connection.sendall(begun)
                assert connection.recv(100) == b""
        with socket.create_connection(address, timeout=10) as connection:  # a second request, on the same connection
            for _ in range(3):
                connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
                answer = b""
                while not answer.endswith(b'{"status":"ok"}'):  # it can come in several parts
                    part = connection.recv(10_000)
                    assert part
                    answer += part
                time.sleep(0.5)
            connection.sendall(b"GET / ")
            assert connection.recv(100) == b""


def test_a_slow_result_is_told_why(gated: Gated) -> None:
    with running(gated, Limits(seconds=0.4)) as address:
        status, _, content = received(sent(address, "1"))
        assert status == 504
        assert content["error"] == "result: not ready after 0.4 seconds, the limit (--seconds)"
        gated.gate.set()
        assert received(sent(address, "2"))[0] == 200


def test_an_input_that_the_program_cannot_compute_harms_no_other(gated: Gated) -> None:
    with running(gated, Limits(batch=10, delay=0.2)) as address:
        gated.gate.set()
        answers = [received(one) for one in [sent(address, item) for item in ("1", "666", "x", "2")]]
    assert [status for status, _, _ in answers] == [200, 500, 422, 200]
    assert answers[1][2] == {"error": "error of the server; its log says more"}
    assert answers[2][2] == {"error": "number: expected a whole number, got 'x'"}


def test_what_is_no_request_is_refused(gated: Gated) -> None:
    gated.gate.set()
    with running(gated, Limits()) as address:
        for content in (b"\0\1\2\3\r\n\r\n", b"GET / HTTP/1.1\r\nhost: a b\r\nx" + 100_000 * b"y"):
            with socket.create_connection(address, timeout=10) as connection:
                connection.sendall(content)
                assert b" 400 " in connection.recv(1000)
        assert received(sent(address, "2"))[0] == 200


@pytest.mark.parametrize("task", ["translate", "classify-text", "answer", "recommend"])
def test_batches_give_the_same_results_as_one_at_a_time(task: str, tmp_path: Path) -> None:
    spec = table.spec_of(task)
    train(task, spec.demo.tiny(), tmp_path / "run")
    predictor = load(tmp_path / "run")
    inputs = spec.load().inputs(spec.demo.tiny(), tmp_path)
    if task == "translate":  # an output that does not end is as long as the longest source of its batch allows
        inputs = inputs[:1]
    items = [inputs[at % len(inputs)] for at in range(24)]
    names = spec.served.parts or ("input",)

    def asked(address: tuple[str, int], item: str) -> object:
        given = dict(zip(names, item.split("\t") if spec.served.parts else [item], strict=True))
        body = json.dumps(given).encode()
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(head_of(address, len(body)) + body)
            return received(connection)[2]

    with running(predictor, Limits(delay=0.1), spec) as address, ThreadPoolExecutor(12) as clients:
        together = list(clients.map(lambda item: asked(address, item), items))
        figures = _figures(address)
    assert re.search(r"regard_batch_requests_count (\d+)", figures)
    assert together == [_plain(next(iter(predictor.predict([item]))).to_dict()) for item in items]


def _plain(value: object) -> object:
    """Numbers rounded: batches of another size are summed in another order."""
    return json.loads(json.dumps(value), parse_float=lambda number: pytest.approx(float(number), rel=1e-3, abs=1e-6))


def _figures(address: tuple[str, int]) -> str:
    with socket.create_connection(address, timeout=10) as connection, connection.makefile("rb") as file:
        connection.sendall(f"GET /metrics HTTP/1.1\r\nhost: {address[0]}\r\nconnection: close\r\n\r\n".encode())
        return file.read().decode()


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("translator") / "run"
    train("translate", table.spec_of("translate").demo.tiny(), run)
    return run


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT], ids=lambda ending: ending.name)
def test_a_signal_under_load_loses_nothing_that_was_accepted(ending: signal.Signals, translator: Path) -> None:
    with command([translator], "--batch", "1") as (process, address):
        texts = [f"a text with the number {number}" for number in range(12)]
        waiting = [sent(address, text) for text in texts]
        first = received(waiting[0])
        process.send_signal(ending)
        answers = [first, *(received(one) for one in waiting[1:])]
        assert [status for status, _, _ in answers] == 12 * [200]
        assert [content["source"] for _, _, content in answers] == texts
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert "all requests are answered" in process.stderr.read()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_connections_send_without_waiting_for_acknowledgements() -> None:
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0

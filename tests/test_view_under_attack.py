"""The viewer against strangers: names, origins, paths, sizes, numbers of clients, and clients that take their time."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from growreel.view import server as serving
from growreel.view.door import Door, name_in
from viewing import Viewer, make_runs, viewing

SECRET = "this is not for you"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attack")
    (folder / "secret.webp").write_text(SECRET)
    runs = make_runs(folder)
    (runs / "first" / "samples" / "000000007.webp").symlink_to(folder / "secret.webp")
    return runs


@pytest.fixture
def viewer(runs: Path) -> Iterator[Viewer]:
    with viewing(runs) as served:
        yield served


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8377",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.7",
        "",
        "a b",
        "@localhost",
        "localhost/x",
    ],
)
def test_a_name_that_was_rebound_is_refused(viewer: Viewer, host: str) -> None:
    assert viewer.ask("GET", "/api/hello", {"Host": host})[0] == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:9", "127.0.0.2", "[::1]:8377", "LOCALHOST"])
def test_names_of_this_machine_are_known(viewer: Viewer, host: str) -> None:
    assert viewer.ask("GET", "/api/hello", {"Host": host})[0] == 200, "ssh -L has ports of its own"


def test_two_host_headers_are_refused(viewer: Viewer) -> None:
    with viewer.connect() as connection:
        connection.sendall(b"GET /api/hello HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert b"403" in connection.recv(100)


@pytest.mark.parametrize(
    "changed",
    [
        {"X-Growreel-Token": "wrong"},
        {"X-Growreel-Token": None},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
def test_other_sites_cannot_change_anything(viewer: Viewer, runs: Path, changed: dict[str, str | None]) -> None:
    good = {"Content-Type": "application/json", "X-Growreel-Token": viewer.token, "Origin": f"http://127.0.0.1:{viewer.port}"}
    body = json.dumps({"run": "first", "clip": 1, "keep": False}).encode()
    headers = {name: value for name, value in {**good, **changed}.items() if value is not None}
    assert viewer.ask("POST", "/api/drop", headers, body)[0] == 403
    assert not list(runs.parent.glob("*.jsonl"))


def test_reading_addresses_change_nothing_and_other_methods_are_unknown(viewer: Viewer) -> None:
    assert viewer.ask("GET", "/api/drop?run=first&clip=1&keep=false")[0] == 404 and viewer.ask("GET", "/api/tell?what=stop")[0] == 404
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "HEAD", "XYZ"):
        assert viewer.ask(method, "/api/hello")[0] == 501


def test_no_other_site_may_read_or_frame(viewer: Viewer) -> None:
    for path in ("/", "/main.js", "/api/hello", "/nowhere"):
        headers = viewer.ask("GET", path)[2]
        assert "Access-Control-Allow-Origin" not in headers and headers["X-Frame-Options"] == "DENY"
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.webp",
        "/..%2fsecret.webp",
        "/%2e%2e/secret.webp",
        "//etc/passwd",
        "/static/../../secret.webp",
        "/api/sample?run=first&name=../../../secret",
        "/api/sample?run=first&name=000000007",
        "/api/sample?run=..&name=secret",
        "/api/sample?run=/etc&name=passwd",
        "/api/run?run=../runs/first",
        "/api/run?run=first/../second",
        "/api/clip?run=first&model=../../secret",
        "/api/data/clip?run=..&clip=0",
        "/api/sample?run=first&name=000000040%00.webp",
        "http://127.0.0.1/../secret.webp",
    ],
)
def test_nothing_outside_is_served(viewer: Viewer, path: str) -> None:
    status, body, _ = viewer.ask("GET", path)
    assert status in (403, 404) and SECRET.encode() not in body and b"root:" not in body


def test_what_is_too_long_is_refused(viewer: Viewer) -> None:
    assert viewer.ask("GET", "/api/run?run=" + "x" * 5000)[0] == 414
    assert viewer.ask("GET", "/api/hello", {"X-Long": "x" * 200_000})[0] in (400, 431)
    assert viewer.ask("GET", "/api/run?" + "&".join(f"a{k}=1" for k in range(300)))[0] in (400, 500)
    good = {"Content-Type": "application/json", "X-Growreel-Token": viewer.token}
    for length in ("100000", "9" * 30, "-1", "1e3", "\u00b2"):
        with viewer.connect() as connection:
            head = "".join(f"{name}: {value}\r\n" for name, value in good.items())
            connection.sendall(
                f"POST /api/drop HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {length}\r\n\r\n{{}}".encode("latin-1")
            )
            assert connection.recv(12).split()[1] in (b"411", b"413"), length
    assert viewer.ask("POST", "/api/drop", good, b"[" * 60_000)[0] == 400
    assert viewer.ask("POST", "/api/drop", good, b"[]")[0] == 400
    assert viewer.ask("GET", f"/api/export?run=first&format=mp4&places={','.join(['1'] * 65)}")[0] == 400
    assert viewer.ask("GET", "/api/walk?run=first&count=100000")[0] == 400


def test_noise_is_answered_or_dropped(viewer: Viewer) -> None:
    handshake = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9
    for noise in (handshake, b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 1000, b"x" * 300_000):
        with viewer.connect() as connection:
            try:
                connection.sendall(noise)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
            except OSError:
                pass
    assert viewer.ask("GET", "/api/hello")[0] == 200


def test_two_hundred_at_once_are_all_answered(viewer: Viewer) -> None:
    """Each gets its answer; no more threads at a time than allowed, whatever they ask for."""
    paths = ("/api/run?run=first", "/api/clip?run=first&place=3", "/api/data?run=first", "/", "/api/hello", "/api/walk?run=first&step=4")
    statuses, most = list[int](), [0]

    def one(number: int) -> None:
        statuses.append(viewer.ask("GET", paths[number % len(paths)])[0])

    before = threading.active_count()
    clients = [threading.Thread(target=one, args=(number,)) for number in range(200)]
    for client in clients:
        client.start()
    while any(client.is_alive() for client in clients):
        most[0] = max(most[0], threading.active_count() - sum(client.is_alive() for client in clients) - before)
        time.sleep(0.005)
    assert statuses == [200] * 200 and most[0] <= serving.MOST_AT_ONCE + 2


def test_clients_that_take_their_time_are_shut_out(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than there is room for, a byte at a time: others wait, but not long, and then are served."""
    monkeypatch.setattr(serving, "ASKING_SECONDS", 1.5)
    monkeypatch.setattr(serving, "MOST_AT_ONCE", 8)
    with viewing(runs) as viewer:
        slow = [viewer.connect() for _ in range(12)]
        stop = threading.Event()

        def drip() -> None:
            for byte in b"GET /api/hello HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"x" * 10_000:
                for connection in slow:
                    try:
                        connection.send(bytes([byte]))
                    except OSError:
                        continue
                if stop.wait(0.1):
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        began = time.monotonic()
        assert viewer.ask("GET", "/api/hello")[0] == 200
        assert time.monotonic() - began < 15
        stop.set()
        dripping.join()
        for connection in slow:
            connection.close()


def test_a_client_that_does_not_take_its_answer_is_shut_out(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "ANSWERING_SECONDS", 1.0)
    with viewing(runs) as viewer:
        big = b"x" * 30_000_000
        monkeypatch.setattr(viewer.server, "answer", lambda asked: serving.Reply(big, "text/plain"))
        with viewer.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            began, taken = time.monotonic(), 0
            while connection.recv(1) and time.monotonic() - began < 20:  # then all that is in the pipes may still come
                taken += 1
                time.sleep(0.2 if time.monotonic() - began < 3 else 0)
                if time.monotonic() - began > 3:
                    connection.settimeout(10)
                    try:
                        taken += len(connection.recv(2**20))
                    except OSError:
                        break
            assert taken < len(big)


def test_a_client_that_has_gone_stops_what_it_asked_for(viewer: Viewer) -> None:
    studio, gate = viewer.application.studio, threading.Event()
    blocker = threading.Thread(target=lambda: studio.get("blocker", lambda: b"x" if gate.wait(60) else b"", lambda: True))
    blocker.start()
    time.sleep(0.1)
    for seed in range(5):
        with viewer.connect() as connection:
            connection.sendall(f"GET /api/clip?run=first&place={1000 + seed} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            time.sleep(0.2)
    time.sleep(0.5)
    made = studio.made
    gate.set()
    blocker.join()
    assert viewer.ask("GET", "/api/clip?run=first&place=1")[0] == 200
    assert studio.made == made + 2 and studio.left_out == 5, "the blocker and the one that was wanted"


def test_memory_is_bounded(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    from growreel.view import studio as making

    monkeypatch.setattr(making, "MOST_KEPT_BYTES", 4000)
    studio = viewer.application.studio
    for k in range(100):
        studio.get(k, lambda: b"x" * 500, lambda: True)
    assert studio._kept_bytes <= 4000 and len(studio._kept) <= 8
    monkeypatch.setattr(making, "MOST_WAITING", 0)
    assert viewer.ask("GET", "/api/clip?run=first&place=77")[0] == 503


def test_opened_wide_it_wants_the_token(runs: Path) -> None:
    with viewing(runs, host="0.0.0.0") as viewer:
        token = viewer.address.split("token=")[1]
        assert viewer.ask("GET", "/api/hello")[0] == 403 and viewer.ask("GET", "/")[0] == 403
        assert viewer.ask("GET", "/api/hello?token=wrong")[0] == 403
        status, _, headers = viewer.ask("GET", f"/?token={token}")
        assert status == 303 and headers["Location"] == "./" and token not in headers["Location"]
        crumb = headers["Set-Cookie"]
        assert "HttpOnly" in crumb and "SameSite=Strict" in crumb
        cookie = crumb.split(";")[0]
        assert viewer.ask("GET", "/api/hello", {"Cookie": cookie})[0] == 200
        assert viewer.ask("GET", "/api/hello", {"Cookie": cookie, "Host": "evil.example"})[0] == 403, "a rebound name has no business here"
        assert viewer.ask("GET", "/api/hello", {"Cookie": cookie, "Host": "192.0.2.7:8377"})[0] == 200, "numbers cannot be rebound"
        for broken in ("=", "\x01", f"{cookie}\u00e9".encode().decode("latin-1")):
            assert viewer.ask("GET", "/api/hello", {"Cookie": broken})[0] == 403


def test_behind_a_proxy_its_name_is_known_and_the_token_is_needed(runs: Path) -> None:
    with viewing(runs, allow_hosts=["hub.example"]) as viewer:
        assert "token=" in viewer.address
        cookie = viewer.ask("GET", f"/?token={viewer.token}", {"Host": "hub.example"})[2]["Set-Cookie"].split(";")[0]
        assert viewer.ask("GET", "/api/hello", {"Host": "hub.example", "Cookie": cookie})[0] == 200
        assert viewer.ask("GET", "/api/hello", {"Host": "other.example", "Cookie": cookie})[0] == 403
        headers = {"Content-Type": "application/json", "X-Growreel-Token": viewer.token, "Cookie": cookie, "Origin": "https://hub.example"}
        body = json.dumps({"run": "first", "clip": 1, "keep": True}).encode()
        assert viewer.ask("POST", "/api/drop", headers, body)[0] == 200


def test_names_in_host_headers() -> None:
    assert [name_in(host) for host in ("a:1", "[::1]:2", "a:x", "u@a", "a?b", "a#b", "")] == ["a", "::1", None, None, None, None, None]
    assert not Door.at("127.0.0.1").wide and not Door.at("::1").wide and not Door.at("localhost").wide
    assert Door.at("0.0.0.0").wide and Door.at("::").wide and Door.at("192.0.2.7").wide and Door.at("127.0.0.1", ["x"]).wide


def test_a_port_that_is_taken_is_told(viewer: Viewer, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from growreel.cli import main

    assert main(["view", str(runs), "--port", str(viewer.port)]) == 2
    assert "cannot listen there" in capsys.readouterr().err
    assert main(["view", str(runs), "--port", "70000"]) == 2

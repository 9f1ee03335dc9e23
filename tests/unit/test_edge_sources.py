"""Update sources: index, folder, USB stick and HTTPS, against a server on this machine."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from safeml.edge.errors import EdgeError, Usage
from safeml.edge.https import ABOUT, PART, Https
from safeml.edge.sources import FolderSource, HttpsSource, UsbSource, open_source
from tests.edge_bundles import index, refused

pytestmark = pytest.mark.slow

DATA = bytes(range(256)) * 1000
TAG = '"one"'


class Server:
    """A server of one file whose behaviour a test chooses.

    ranges: answers a range. breaks: bytes after which each of the first answers breaks off. headers: replace those of the answer.
    status: of an error, or 0. location: of a redirect. asked: headers of every request.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"/b/x.safeml": DATA}
        self.ranges, self.tag = True, TAG
        self.breaks: list[int] = []
        self.headers: dict[str, str | None] = {}
        self.statuses: list[int] = []
        self.location = ""
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.address = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append((handler.path, dict(handler.headers)))
        if self.statuses:
            handler.send_error(self.statuses.pop(0))
            return
        if self.location and handler.path == "/b/x.safeml":
            handler.send_response(302)
            handler.send_header("Location", self.location)
            handler.end_headers()
            return
        data = self.files.get(handler.path)
        if data is None:
            handler.send_error(404)
            return
        begin = 0
        wanted = handler.headers.get("Range")
        if wanted and self.ranges and handler.headers.get("If-Range") == self.tag:
            begin = int(wanted[len("bytes=") : -1])
        headers: dict[str, str | None] = {"Content-Length": str(len(data) - begin), "ETag": self.tag}
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        handler.send_response(206 if begin else 200)
        for key, value in {**headers, **self.headers}.items():
            if value is not None:
                handler.send_header(key, value)
        handler.end_headers()
        end = begin + self.breaks.pop(0) if self.breaks else len(data)
        handler.wfile.write(data[begin:end])
        handler.close_connection = True

    def source(self, **options: Any) -> Https:
        return Https(self.address + "b", sleep=lambda seconds: None, **{"plain_loopback": True, **options})


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    if context is not None:
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
    server.address = f"http{'s' if context else ''}://127.0.0.1:{listener.server_port}/"
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as one:
        yield one


def test_a_file_is_downloaded_and_nothing_else_stays(server: Server, tmp_path: Path) -> None:
    path = server.source().fetch("x.safeml", len(DATA), str(tmp_path))
    assert Path(path).read_bytes() == DATA
    assert [one.name for one in tmp_path.iterdir()] == ["x.safeml"]
    assert server.asked[0][1]["Accept-Encoding"] == "identity"


def test_a_download_that_breaks_off_is_continued_where_it_was(server: Server, tmp_path: Path) -> None:
    server.breaks = [100_000, 50_000]
    path = server.source().fetch("x.safeml", len(DATA), str(tmp_path))
    assert Path(path).read_bytes() == DATA
    assert [headers.get("Range") for _, headers in server.asked] == [None, "bytes=100000-", "bytes=150000-"]
    assert [headers.get("If-Range") for _, headers in server.asked] == [None, TAG, TAG]


def test_a_later_command_continues_the_download(server: Server, tmp_path: Path) -> None:
    server.breaks = [100_000, 1, 1]
    with pytest.raises(EdgeError, match="check the address and the network"):
        server.source().fetch("x.safeml", len(DATA), str(tmp_path))
    assert (tmp_path / ("x.safeml" + PART)).stat().st_size == 100_002
    path = server.source().fetch("x.safeml", len(DATA), str(tmp_path))
    assert Path(path).read_bytes() == DATA
    assert server.asked[-1][1]["Range"] == "bytes=100002-"


@pytest.mark.parametrize("change", ["other version", "no ranges", "weak tag", "other length", "damaged note"])
def test_what_cannot_be_continued_begins_again(server: Server, tmp_path: Path, change: str) -> None:
    server.breaks = [0, 0, 100_000]
    server.tag = 'W/"one"' if change == "weak tag" else TAG
    source = server.source()
    with pytest.raises(EdgeError, match="check the address and the network"):
        source.fetch("x.safeml", len(DATA), str(tmp_path))
    assert (tmp_path / ("x.safeml" + PART)).stat().st_size == 100_000
    if change == "other version":
        server.tag = '"two"'
    elif change == "no ranges":
        server.ranges = False
    elif change == "other length":
        server.files["/b/x.safeml"] = DATA + b"more"
    elif change == "damaged note":
        (tmp_path / ("x.safeml" + ABOUT)).write_text("{")
    wanted = server.files["/b/x.safeml"]
    assert Path(source.fetch("x.safeml", len(wanted), str(tmp_path))).read_bytes() == wanted


def test_a_part_of_another_place_is_not_joined(server: Server, tmp_path: Path) -> None:
    server.breaks = [100_000]
    server.headers = {}
    original = server.answer

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers.get("Range"):
            server.headers = {"Content-Range": f"bytes 99999-{len(DATA) - 1}/{len(DATA)}"}
        original(handler)

    server.answer = answer  # type: ignore[method-assign]
    with pytest.raises(EdgeError, match=r"continued x\.safeml at another place"):
        server.source().fetch("x.safeml", len(DATA), str(tmp_path))
    assert not (tmp_path / ("x.safeml" + PART)).exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "1"},
        {"Content-Length": str(len(DATA) + 1)},
        {"Content-Length": "99999999999999999999"},
        {"Content-Length": None},
        {"Content-Length": None, "Transfer-Encoding": "chunked"},
        {"Content-Encoding": "gzip"},
    ],
    ids=str,
)
def test_a_length_that_is_not_known_beforehand_is_refused(
    server: Server, tmp_path: Path, headers: dict[str, str | None]
) -> None:
    server.headers = headers
    with refused("source"):
        server.source().fetch("x.safeml", len(DATA), str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("location", ["http://127.0.0.1/b/x", "ftp://127.0.0.1/x", "https://u:p@127.0.0.1/x"])
def test_a_redirect_to_another_scheme_is_refused(tmp_path: Path, location: str) -> None:
    certificate, key = _certificate(tmp_path)
    there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there.load_cert_chain(certificate, key)
    with serving(there) as server:
        server.location = location
        source = server.source(plain_loopback=False, context=ssl.create_default_context(cafile=certificate))
        with refused("source"):
            source.fetch("x.safeml", len(DATA), str(tmp_path))


def test_a_redirect_to_the_same_scheme_is_followed(server: Server, tmp_path: Path) -> None:
    server.files["/other"] = DATA
    server.location = server.address + "other"
    assert Path(server.source().fetch("x.safeml", len(DATA), str(tmp_path))).read_bytes() == DATA


def test_a_redirect_to_a_file_of_the_device_is_an_error(server: Server, tmp_path: Path) -> None:
    server.location = "file:///etc/hostname"
    with pytest.raises(EdgeError, match="status 302"):
        server.source().fetch("x.safeml", len(DATA), str(tmp_path))


def test_redirects_without_end_are_an_error(server: Server, tmp_path: Path) -> None:
    server.location = server.address + "b/x.safeml"
    with pytest.raises(EdgeError, match="cannot be read"):
        server.source().fetch("x.safeml", len(DATA), str(tmp_path))
    assert len(server.asked) < 10


def test_a_server_error_is_tried_three_times_and_a_missing_file_once(server: Server, tmp_path: Path) -> None:
    server.statuses = [500, 503]
    assert server.source().fetch("x.safeml", len(DATA), str(tmp_path))
    assert len(server.asked) == 3
    with pytest.raises(EdgeError, match="status 404"):
        server.source().fetch("y.safeml", len(DATA), str(tmp_path))
    assert len(server.asked) == 4


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        source = Https(address, plain_loopback=True, timeout=0.05, sleep=lambda seconds: None)
        with pytest.raises(EdgeError, match="timed out"):
            source.fetch("x.safeml", 10, str(tmp_path))


def test_a_server_that_sends_a_byte_now_and_then_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safeml.edge.https.PATIENCE", -1e9)
    with pytest.raises(EdgeError, match="took too long"):
        server.source().fetch("x.safeml", len(DATA), str(tmp_path))
    assert 0 < (tmp_path / ("x.safeml" + PART)).stat().st_size < len(DATA)


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/",
        "http://127.0.0.1/",
        "ftp://example.org/",
        "file:///etc/",
        "https://user:secret@example.org/",
        "https://example.org/?token=1",
        "https:///x",
        "https://[/",
        "//example.org",
    ],
)
def test_an_address_that_is_not_plain_https_is_refused(address: str) -> None:
    with refused("source"):
        Https(address)


def test_plain_http_is_for_tests_on_this_machine_alone() -> None:
    with refused("source"):
        Https("http://192.0.2.1/", plain_loopback=True)


def _certificate(folder: Path) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return str(files[0]), str(files[1])


def test_a_certificate_counts_only_where_the_trust_store_has_its_issuer(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there.load_cert_chain(certificate, key)
    with serving(there) as server:
        trusting = server.source(plain_loopback=False, context=ssl.create_default_context(cafile=certificate))
        assert Path(trusting.fetch("x.safeml", len(DATA), str(tmp_path))).read_bytes() == DATA
        with pytest.raises(EdgeError, match=r"(?i)certificate"):
            server.source(plain_loopback=False).fetch("x.safeml", len(DATA), str(tmp_path))


def test_the_index_of_a_server(server: Server) -> None:
    source = HttpsSource(server.source())
    assert source.entry("signs") is None
    server.files["/b/index.json"] = index()
    entry = source.entry("signs")
    assert entry is not None
    assert entry.release == 7
    server.files["/b/index.json"] = index() + b" " * (1 << 20)
    with refused("source"):
        source.entry("signs")


def test_the_settings_name_a_source(tmp_path: Path) -> None:
    assert isinstance(open_source("https://example.org/x"), HttpsSource)
    assert isinstance(open_source("usb"), UsbSource)
    assert isinstance(open_source(str(tmp_path)), FolderSource)
    for source in (None, "", "relative/folder"):
        with pytest.raises(Usage, match=r"update\.source"):
            open_source(source)

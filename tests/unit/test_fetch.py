"""The download against a local server: what arrives is whole, or nothing is there."""

from __future__ import annotations

import hashlib
import io
import stat
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safeml.data import fetch, gtsrb
from safeml.data.fetch import ARCHIVES, CHECKSUMS, fetch_gtsrb, unzip
from safeml.errors import ConfigError, InputRefused, StageError
from safeml.limits import Limits

HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"


class Server:
    """Files by name, served over HTTP; every request is noted."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.cut = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                outer.requests.append(name)
                body = outer.files.get(name)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write((body or b"")[: len(body or b"") - outer.cut])

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/archives"

    def sums(self) -> dict[str, str]:
        return {name: "sha256:" + hashlib.sha256(body).hexdigest() for name, body in self.files.items()}


def zipped(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PPM")
    return buffer.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    training = "GTSRB/Final_Training/Images/00003"
    row = "20;20;2;2;18;18"
    server.files = {
        "GTSRB_Final_Training_Images.zip": zipped(
            {
                f"{training}/00000_00000.ppm": picture(1),
                f"{training}/GT-00003.csv": f"{HEADER}\n00000_00000.ppm;{row};3\n".encode(),
            }
        ),
        "GTSRB_Final_Test_Images.zip": zipped({"GTSRB/Final_Test/Images/00000.ppm": picture(2)}),
        "GTSRB_Final_Test_GT.zip": zipped({"GT-final_test.csv": f"{HEADER}\n00000.ppm;{row};16\n".encode()}),
    }
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def get(root: Path, server: Server, **options: object) -> Path:
    settings = {"base_url": server.url, "checksums": server.sums(), "progress": False, **options}
    return fetch_gtsrb(root, **settings)  # type: ignore[arg-type]


def left_behind(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.iterdir()) if root.exists() else []


def test_what_was_fetched_can_be_loaded(tmp_path, server):
    root = get(tmp_path / "data", server)
    assert gtsrb.load(root, "train").labels.tolist() == [3]
    assert gtsrb.load(root, "test").labels.tolist() == [16]
    assert left_behind(root) == ["test", "train"]


def test_the_second_call_asks_for_nothing(tmp_path, server):
    get(tmp_path, server)
    assert sorted(server.requests) == sorted(sum(ARCHIVES.values(), ()))
    server.requests.clear()
    get(tmp_path, server)
    assert server.requests == []


def test_only_the_parts_asked_for_are_fetched(tmp_path, server):
    get(tmp_path, server, parts=("train",))
    assert server.requests == ["GTSRB_Final_Training_Images.zip"]
    assert left_behind(tmp_path) == ["train"]


def test_other_archives_are_not_taken_for_the_ones_there(tmp_path, server):
    get(tmp_path, server, parts=("train",))
    other = {**server.sums(), "GTSRB_Final_Training_Images.zip": "sha256:" + "0" * 64}
    with pytest.raises(ConfigError, match="was not unpacked from the requested archives"):
        get(tmp_path, server, parts=("train",), checksums=other)


def test_a_wrong_checksum_is_refused_and_leaves_nothing(tmp_path, server):
    with pytest.raises(InputRefused, match="does not have the expected checksum md5:f33f"):
        get(tmp_path, server, checksums={})
    assert left_behind(tmp_path) == []


def test_a_truncated_download_leaves_nothing(tmp_path, server):
    server.cut = 10
    with pytest.raises((StageError, InputRefused), match=r"was not reached|expected checksum"):
        get(tmp_path, server)
    assert left_behind(tmp_path) == []


def test_a_server_that_is_not_reached_is_one_sentence(tmp_path):
    with pytest.raises(StageError, match=r"was not reached \(\w+\); check the network, or .*--base-url"):
        fetch_gtsrb(tmp_path, base_url="http://localhost:1/", progress=False)
    assert left_behind(tmp_path) == []


def test_an_absent_archive_leaves_nothing_of_its_part(tmp_path, server):
    sums = server.sums()
    del server.files["GTSRB_Final_Test_GT.zip"]
    with pytest.raises(
        StageError, match=r"GTSRB_Final_Test_GT\.zip: the server answered with HTTP status 404; .*--base-url"
    ):
        get(tmp_path, server, checksums=sums)
    assert left_behind(tmp_path) == ["train"]


def test_an_interrupt_leaves_nothing(tmp_path, server, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch, "unzip", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get(tmp_path, server)
    assert left_behind(tmp_path) == []


def test_an_endless_download_is_cut_off(tmp_path, server, monkeypatch):
    monkeypatch.setattr(fetch, "LIMITS", Limits(download_bytes=100))
    with pytest.raises(InputRefused, match="larger than the limit for a download"):
        get(tmp_path, server)
    assert left_behind(tmp_path) == []


def test_a_hostile_archive_with_the_right_checksum_is_refused(tmp_path, server):
    server.files["GTSRB_Final_Training_Images.zip"] = zipped({"../escaped.txt": b"x"})
    with pytest.raises(InputRefused, match="is outside the folder"):
        get(tmp_path / "data", server)
    assert left_behind(tmp_path / "data") == []
    assert left_behind(tmp_path) == ["data"]


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "..\\x", "C:/x", "a\\b"])
def test_entries_that_lead_out_are_refused(tmp_path, name):
    (tmp_path / "a.zip").write_bytes(zipped({name: b"x"}))
    with pytest.raises(InputRefused, match="is outside"):
        unzip(tmp_path / "a.zip", tmp_path / "in" / "side")
    assert left_behind(tmp_path) == ["a.zip"]


def test_links_doubles_and_damage_are_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc")
    sound = zipped({"a": bytes(range(256)) * 20})
    (tmp_path / "cut.zip").write_bytes(sound[:-30])
    damaged = bytearray(sound)
    damaged[60] ^= 0xFF
    (tmp_path / "damaged.zip").write_bytes(damaged)
    with zipfile.ZipFile(tmp_path / "double.zip", "w") as archive:
        archive.writestr("a", "1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a", "2")
    for name in ("link", "cut", "damaged", "double"):
        with pytest.raises(InputRefused):
            unzip(tmp_path / f"{name}.zip", tmp_path / name)


def test_unpacking_is_bounded_before_it_starts(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"a": bytes(10_000), "b": b""}))
    for limits in (Limits(unpacked_bytes=9_999), Limits(archive_members=1)):
        with pytest.raises(InputRefused, match="the limits are"):
            unzip(tmp_path / "a.zip", tmp_path / "out", limits)
    assert left_behind(tmp_path / "out") == []
    unzip(tmp_path / "a.zip", tmp_path / "out", Limits(unpacked_bytes=10_000, archive_members=2))
    assert (tmp_path / "out" / "a").read_bytes() == bytes(10_000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ("validation",)}, "has no part"),
        ({"checksums": {"other.zip": "md5:" + "0" * 32}}, "is not an archive of GTSRB"),
        ({"checksums": {"GTSRB_Final_Test_GT.zip": "abc"}}, "is malformed"),
        ({"base_url": "file:///etc"}, "is not http or https"),
    ],
)
def test_bad_settings_are_configuration_errors(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        fetch_gtsrb(tmp_path, **options)


def test_every_archive_has_a_checksum():
    assert set(sum(ARCHIVES.values(), ())) == set(CHECKSUMS)

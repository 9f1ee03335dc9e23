"""The page of a bundle in a browser: no request, no wider than the screen, on few sheets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from safeml.bundle.page import bundle_page
from safeml.bundle.reading import read_bundle
from tests.edge_bundles import Bundle
from tests.integration.test_report_browser import MEASURE, chromium, pytestmark, sheets  # noqa: F401


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of an overridden bundle with hostile texts and as many files as a large audit has."""
    folder = tmp_path_factory.mktemp("bundle")
    bundle = Bundle().overridden("<script>document.title = 'run'</script> " + "very long reason " * 20)
    bundle.files |= {f"audit/stage-{k}.html": b"x" for k in range(30)}
    path = folder / "bundle.html"
    path.write_text(bundle_page(read_bundle(bundle.write(folder / "b.safeml"))))
    return path


def test_the_page_shows_the_override_and_runs_nothing(page: Path, tmp_path: Path) -> None:
    dom = chromium(tmp_path, "--dump-dom", f"file://{page}")
    assert 'class="word fail"' in dom
    assert "very long reason" in dom
    assert "<title>override · Bundle test signs, release 5</title>" in dom
    assert "<script" not in dom


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_no_wider_than_the_screen(width: int, page: Path, tmp_path: Path) -> None:
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<body><iframe title="bundle" width="{width}" height="900" style="border:0" src="file://{page}"></iframe><p id="w"></p>'
        f"<script>{MEASURE}</script>"
    )
    dom = chromium(
        tmp_path, "--allow-file-access-from-files", "--disable-web-security", "--dump-dom", f"file://{frame}"
    )
    found = re.search(r'<p id="w">(\[.*?\])</p>', dom)
    assert found
    [[_, shown, wide, _, _]] = json.loads(found.group(1))
    assert shown == width
    assert wide <= width


def test_the_page_prints_on_six_sheets_at_most(page: Path, tmp_path: Path) -> None:
    assert 1 <= sheets(page, tmp_path) <= 6

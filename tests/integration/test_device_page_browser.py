"""The device page in a real browser: it is no wider than the screen, in words of any length too, and prints on few sheets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from safeml.edge.report import page
from tests.integration.test_report_browser import CHROMIUM, MEASURE, chromium, sheets
from tests.unit.test_edge_report import HOSTILE, records

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium"
    ),
]


def test_the_page_fits_the_screen_and_prints(tmp_path: Path) -> None:
    words = {"usual": "plain words", "long": "x" * 300, "hostile": HOSTILE}
    for name, word in words.items():
        (tmp_path / f"{name}.html").write_text(page(records(word)), encoding="utf-8")
    frames = [
        f'<iframe title="{name} {width}" width="{width}" height="900" style="border:0" src="file://{tmp_path / name}.html"></iframe>'
        for name in words
        for width in (390, 1280)
    ]
    frame = tmp_path / "frame.html"
    frame.write_text(f'<body>{"".join(frames)}<p id="w"></p><script>{MEASURE}</script>')
    dom = chromium(
        tmp_path, "--allow-file-access-from-files", "--disable-web-security", "--dump-dom", f"file://{frame}"
    )
    found = re.search(r'<p id="w">(\[.*?\])</p>', dom)
    assert found
    measured = json.loads(found.group(1))
    assert len(measured) == len(frames)
    for name, width, wide, *_ in measured:
        assert wide <= width, name
    assert 1 <= sheets(tmp_path / "usual.html", tmp_path) <= 4


def test_the_device_page_runs_no_script_and_shows_its_verdict(tmp_path: Path) -> None:
    target = tmp_path / "device.html"
    target.write_text(page(records(HOSTILE)), encoding="utf-8")
    dom = chromium(tmp_path, "--dump-dom", f"file://{target}")
    assert "self-test passed" in dom
    assert "<script" not in dom
    assert "<img" not in dom

"""The pages in a real browser without network: the verdict is there, nothing is requested, nothing scrolls sideways."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.report_pictures import HEIGHT, WIDTH, check_rendered, take
from safeml.errors import ConfigError
from safeml.report.write import write_report
from safeml.store.files import atomic_write, read_run, read_times, to_json
from tests.sample_run import hostile_run, sample_run

SAMPLE = Path(__file__).parents[2] / "reports" / "sample"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium"
    ),
]
FLAGS = (
    (
        "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync "
        "--disable-component-update --hide-scrollbars --host-resolver-rules=MAP\\ *\\ ~NOTFOUND"
    )
    .replace("\\ ", "\0")
    .split()
)


def chromium(folder: Path, *arguments: str) -> str:
    flags = [flag.replace("\0", " ") for flag in FLAGS]
    command = [str(CHROMIUM), *flags, f"--user-data-dir={folder / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture(scope="module", params=[sample_run, hostile_run], ids=["sample", "hostile"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample" if request.param is sample_run else "hostile")
    run, times = request.param()
    write_report(run, folder, times)
    (folder / "sentence.txt").write_text(run.verdict.sentence)
    return folder


@pytest.mark.parametrize("page", ["index.html", "performance.html"])
def test_the_verdict_is_in_the_page_and_nothing_is_requested(report: Path, page: str, tmp_path: Path) -> None:
    log = tmp_path / "net.json"
    dom = chromium(tmp_path, f"--log-net-log={log}", "--dump-dom", f"file://{report / page}")
    assert 'class="word fail"' in dom or 'class="word error"' in dom
    assert "exit code 1" in dom or "exit code 4" in dom or page != "index.html"
    text = log.read_text()
    try:
        events = json.loads(text)["events"]
    except ValueError:  # the browser may leave without closing the list
        events = json.loads(text.rstrip().rstrip(",") + "]}")["events"]
    urls = {event.get("params", {}).get("url", "") for event in events}
    outside = [url for url in urls if re.match(r"(https?|wss?|ftp):", url) and not _browser_itself(url)]
    assert not outside


def _browser_itself(url: str) -> bool:
    """What a starting Chromium asks on its own account, page or no page."""
    return "google" in url or "gvt1" in url or "chrome" in url


# Of each page in a frame: its width, how far its table of gates reaches beyond the panel, and its narrowest interval picture.
MEASURE = """
window.onload = () => { w.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(f => {
  const page = f.contentDocument, all = name => [...page.querySelectorAll(name)];
  const shown = all(".gates .glyph").map(glyph => glyph.getBoundingClientRect().width);
  return [f.title, f.clientWidth, page.documentElement.scrollWidth,
    Math.max(0, ...all(".tight").filter(panel => panel.querySelector(".gates")).map(panel => panel.scrollWidth - panel.clientWidth)),
    Math.min(...shown, 1000)];
})) }
"""


def test_no_page_is_wider_than_the_screen_and_the_gates_are_seen_whole(report: Path, tmp_path: Path) -> None:
    """One browser for all pages at both widths: an audit has eleven pages, and a browser costs a second."""
    pages = [(width, page) for width in (390, 1280) for page in sorted(report.glob("*.html"))]
    frames = [
        f'<iframe title="{page.name}" width="{width}" height="900" style="border:0" src="file://{page}"></iframe>'
        for width, page in pages
    ]
    frame = tmp_path / "frame.html"
    frame.write_text(f'<body>{"".join(frames)}<p id="w"></p><script>{MEASURE}</script>')
    dom = chromium(
        tmp_path, "--allow-file-access-from-files", "--disable-web-security", "--dump-dom", f"file://{frame}"
    )
    found = re.search(r'<p id="w">(\[.*?\])</p>', dom)
    assert found
    measured = json.loads(found.group(1))
    assert len(measured) == len(pages)
    for name, width, wide, beyond, picture in measured:
        assert wide <= width, (name, width)
        assert beyond == 0, (name, width)
        assert picture >= 240, (name, width)


def test_each_page_prints_on_six_sheets_at_most(report: Path, tmp_path: Path) -> None:
    """Names of thousands of characters may take more. A page of a skipped or crashed stage is one sentence, and one stands for all."""
    for page in (
        report / f"{name}.html" for name in ("index", "model", "performance", "adversarial", "physical")
    ):
        count = sheets(page, tmp_path)
        assert 1 <= count <= (6 if report.name.startswith("sample") else 12), (page.name, count)


@pytest.mark.parametrize("page", ["adversarial", "calibration", "performance", "perturbation"])
def test_the_longest_pages_of_a_real_run_print_on_six_sheets_at_most(page: str, tmp_path: Path) -> None:
    """The run of `make report`, drawn today: real stages have more rows and pictures than a made one."""
    write_report(read_run(SAMPLE), tmp_path, read_times(SAMPLE))
    assert sheets(tmp_path / f"{page}.html", tmp_path) <= 6


def sheets(page: Path, folder: Path) -> int:
    target = folder / f"{page.stem}.pdf"
    chromium(folder, f"--print-to-pdf={target}", "--no-pdf-header-footer", f"file://{page}")
    printed = target.read_bytes()
    assert printed.startswith(b"%PDF")
    return len(re.findall(rb"/Type\s*/Page\b", printed))


DATA = {"test": {"kind": "rendered"}, "train": None, "families": ""}


def test_a_picture_for_the_readme_is_drawn_from_a_run_on_rendered_signs(tmp_path: Path) -> None:
    run, times = sample_run()
    made = run.model_copy(update={"configuration": {**run.configuration, "data": DATA}})
    (tmp_path / "run").mkdir()
    atomic_write(tmp_path / "run" / "results.json", to_json(made))
    atomic_write(tmp_path / "run" / "run.json", to_json(times))
    take(tmp_path / "run", "index.html", tmp_path / "images" / "failing.png")
    with Image.open(tmp_path / "images" / "failing.png") as picture:
        assert picture.size == (WIDTH, HEIGHT)
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 50  # not an empty page
    with pytest.raises(ConfigError, match=r"expected index\.html or STAGE\.html"):
        take(tmp_path / "run", "absent.html", tmp_path / "absent.png")


@pytest.mark.parametrize(
    "data",
    [{}, {"test": {"kind": "gtsrb"}}, {"test": {"kind": "memory"}}, {"test": {"kind": "rendered"}, "train": {"kind": "folder"}}],
)  # fmt: skip
def test_a_run_on_photographs_is_refused(data: dict[str, object]) -> None:
    run, _ = sample_run()
    with pytest.raises(ConfigError, match="expected rendered signs"):
        check_rendered(run.model_copy(update={"configuration": {"data": data}}))

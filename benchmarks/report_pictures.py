"""Pictures of a report for the README: `python benchmarks/report_pictures.py RUN NAME` writes docs/images/NAME.png.

RUN is a finished run folder on rendered signs. A run on photographs is refused, because their pictures may not be published.
Needs Chromium (Debian's package chromium), which asks nothing of the network here.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from safeml.errors import ConfigError, SafemlError
from safeml.report.write import write_report
from safeml.results import Run
from safeml.store.files import read_run, read_times

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WIDTH, HEIGHT = 1280, 1500
NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    f"--window-size={WIDTH},{HEIGHT}",
)


def check_rendered(run: Run) -> None:
    """Raise ConfigError unless all data of the run are rendered signs."""
    roles = {
        role: table for role, table in run.configuration.get("data", {}).items() if isinstance(table, dict)
    }
    kinds = {role: table.get("kind", "unknown") for role, table in roles.items()}
    other = next((f"{role} data of kind {kind}" for role, kind in kinds.items() if kind != "rendered"), "")
    if "test" not in kinds or other:
        raise ConfigError(
            f'the run has {other or "no test data"}; expected rendered signs (kind = "rendered"), whose pictures may be published.'
        )


def take(folder: Path, page: str, picture: Path) -> None:
    """Draw the report of a run folder again, beside it, and write the upper part of one page as PNG."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise ConfigError("there is no Chromium on this machine; install Debian's package chromium.")
    run = read_run(folder)
    check_rendered(run)
    with tempfile.TemporaryDirectory(prefix="safeml-pictures-") as made:
        write_report(run, Path(made), read_times(folder))
        if not (Path(made) / page).is_file():
            raise ConfigError(f"{page}: the report has no such page; expected index.html or STAGE.html.")
        picture.parent.mkdir(parents=True, exist_ok=True)
        arguments = [f"--user-data-dir={made}/profile", f"--screenshot={picture}", f"file://{made}/{page}"]
        subprocess.run([chromium, *FLAGS, *arguments], check=True, timeout=120, capture_output=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a finished run folder on rendered signs")
    parser.add_argument("name", help="of the picture: small letters, digits and hyphens")
    parser.add_argument("--page", default="index.html", help="the page to draw")
    given = parser.parse_args()
    if not NAME.fullmatch(given.name):
        parser.error(f"{given.name}: expected small letters, digits and hyphens")
    picture = IMAGES / f"{given.name}.png"
    try:
        take(given.run, given.page, picture)
    except SafemlError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    print(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())

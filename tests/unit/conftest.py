"""What the unit tests share."""

from __future__ import annotations

import gc
import io
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from safeml.cli import main as program
from tests.refusals import Call, Said


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """The console script, in this process and in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAFEML_DATA_ROOT", raising=False)
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}

    def run(*arguments: object) -> Said:
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["safeml", *map(str, arguments)])
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            gc.freeze()  # what other tests left in this process is not the command's to collect
            began = time.process_time()
            with pytest.raises(SystemExit) as left:
                program.main()
            seconds = time.process_time() - began
            gc.unfreeze()
            sys.stdout.flush()
            shown = sys.stdout.buffer.getvalue().decode()  # type: ignore[attr-defined]
        return Said(int(left.value.code or 0), shown, err.getvalue(), seconds)

    yield run
    for number, handler in kept.items():
        signal.signal(number, handler)

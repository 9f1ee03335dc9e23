"""The settings that were checked are the settings that decide, whatever happens to the file meanwhile."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from safeml import pipeline
from safeml.cli import audit as command
from safeml.config import audit as config

SETTINGS = """[model]
path = "m.keras"
[data.test]
kind = "npz"
path = "t.npz"
[[gates]]
id = "accuracy"
stage = "performance"
metric = "clean_accuracy"
op = ">="
threshold = 0.9
"""


@pytest.mark.parametrize("name", ["audit", "run"])
def test_a_file_that_is_edited_while_the_command_works_changes_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "safeml.toml"
    file.write_text(SETTINGS)
    reads: list[Path] = []
    audited: list[Any] = []
    read = config.load_config

    def read_and_edit(path: Path) -> config.Config:
        reads.append(path)
        settings = read(path)
        path.write_text(SETTINGS.replace("threshold = 0.9", "threshold = 0.1"))
        return settings

    def audit(settings: config.Config, *arguments: Any, **options: Any) -> Any:
        audited.append(settings)
        return SimpleNamespace(verdict=SimpleNamespace(exit_code=3)), None, tmp_path

    monkeypatch.setattr(config, "load_config", read_and_edit)
    monkeypatch.setattr(pipeline, "audit", audit)
    monkeypatch.setattr("safeml.cli.show.show_verdict", lambda run, folder: None)
    with pytest.raises(typer.Exit) as end:
        getattr(command, name)(config=file)
    assert end.value.exit_code == 3
    assert reads == [file]
    [settings] = audited
    assert [gate.threshold for gate in settings.gates] == [0.9]
    assert read(file).gates[0].threshold == 0.1  # the edit was there to be read

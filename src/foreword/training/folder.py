"""The folder that a run is kept in: settings, plan, log, checkpoint, result, artifact."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foreword import config as configs
from foreword.config import RunConfig
from foreword.errors import ConfigError
from foreword.whole import put


def check_folder(place: Path, config: RunConfig, *, resume: bool, overwrite: bool) -> None:
    """**Raises** `ConfigError` when another run is in the folder. Nothing is written yet."""
    saved = place / "run.yaml"
    if resume and overwrite:
        raise ConfigError("a run is either resumed or replaced, not both", do="leave out --resume or --overwrite")
    if place.exists() and not place.is_dir():
        raise ConfigError(f"a run is kept in a folder, and this is a file: {place}", do="choose another by --output")
    if resume and saved.exists():
        if configs.load(saved) != config:
            raise ConfigError(
                "the folder holds a run with other settings", where=str(place), do="choose another folder"
            )
    elif resume:
        raise ConfigError(
            f"there is no run to resume in {place}", do="leave out --resume, or name its folder by --output"
        )
    elif place.exists() and any(place.iterdir()) and not overwrite:
        raise ConfigError(
            f"there is a run already: {place}",
            do="go on with it by --resume, replace it by --overwrite, or choose another folder by --output",
        )


def make_folder(place: Path, config: RunConfig, *, anew: bool) -> None:
    """The run's folder with its settings. Of an older run, only files that a run writes are removed."""
    try:
        if anew:
            for name in ("checkpoint.safetensors", "metrics.jsonl", "plan.json", "result.json", "run.yaml"):
                (place / name).unlink(missing_ok=True)
            if (place / "artifact" / "foreword.json").is_file():  # else an interrupted run would keep another's
                shutil.rmtree(place / "artifact")
        place.mkdir(parents=True, exist_ok=True)
        put(place / "run.yaml", configs.dump(config))
    except OSError as error:
        raise ConfigError(f"cannot write the run's folder: {error}", where=str(place)) from None


def log_of(place: Path | None) -> Callable[[dict[str, Any]], None]:
    """Appends records to `metrics.jsonl`; a resumed run first drops what came after its checkpoint."""
    if place is None:
        return lambda record: None
    path = place / "metrics.jsonl"

    def write(entry: dict[str, Any]) -> None:
        step = entry["step"]
        if path.exists() and not seen:
            lines = path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if (known := _step(line)) is not None and known < step]
            path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        seen.append(step)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    seen: list[int] = []
    return write


def _step(line: str) -> int | None:
    """The step of a record; None for half a line, which a killed process may leave."""
    try:
        found: int = json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return None
    return found

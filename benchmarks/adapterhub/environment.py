"""The environment that the peer runs in: where it is, whether it is there, and how it is made.

python -m benchmarks.adapterhub.environment    makes it, in the user's cache (about 1 GB, a few minutes)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

NAME = "adapterhub"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
STAMP = "requirements-installed.txt"
COMMAND = "python -m benchmarks.adapterhub.environment"


def folder() -> Path:
    """Where it is kept, whatever is in it."""
    from foreword.store import cache_dir

    return cache_dir() / "environments" / NAME


def python() -> Path:
    """Its interpreter, which is there when `missing` says nothing."""
    return folder() / "bin" / "python"


def missing() -> str | None:
    """Why it cannot be used; None where it is whole and of these requirements."""
    stamp = folder() / STAMP
    if not python().exists() or not stamp.is_file():
        return f"its environment is not there; `{COMMAND}` makes it"
    if stamp.read_text(encoding="utf-8") != REQUIREMENTS.read_text(encoding="utf-8"):
        return f"its environment is of other versions; `{COMMAND}` makes it anew"
    return None


def make() -> Path:
    """Make it, or make it anew. **Raises** `CalledProcessError` where pip fails; it then counts as missing."""
    place = folder()
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    pip = [str(python()), "-m", "pip", "--disable-pip-version-check", "install", "-q", "-r", str(REQUIREMENTS)]
    subprocess.run(pip, check=True)
    (place / STAMP).write_text(REQUIREMENTS.read_text(encoding="utf-8"), encoding="utf-8")  # last: it is whole now
    return place


if __name__ == "__main__":
    print(missing() and f"made {make()}" or f"{folder()} is there already")

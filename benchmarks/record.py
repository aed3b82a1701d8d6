"""What is written down of a case: ratios, the machine, whether it was quiet, and whether the losses were equal."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "peft", "foreword")
QUIET = 0.7
"""How much work of others, in cores, a machine may have and still be called quiet."""


def ratios(ours: Sequence[float], theirs: Sequence[float], target: float | None = None) -> dict[str, Any]:
    """Theirs ÷ ours, pair by pair: all of them, median, least and most, and whether the median meets the target."""
    values = [b / a for a, b in zip(ours, theirs, strict=True)]
    median = statistics.median(values)
    found: dict[str, Any] = {"values": values, "median": median, "min": min(values), "max": max(values)}
    return found if target is None else found | {"target": target, "met": median >= target}


def memory_share(ours: float, theirs: float, target: float | None = None) -> dict[str, Any]:
    """Our peak memory ÷ theirs, and whether it is as small as asked."""
    share = ours / theirs
    return {"share": share} if target is None else {"share": share, "target": target, "met": share <= target}


def compared(ours: Sequence[float], theirs: Sequence[float], tolerance: float) -> dict[str, Any]:
    """Two curves: the largest difference, and whether it is within `tolerance` of their size everywhere."""
    if not ours or len(ours) != len(theirs):
        return {"ours": list(ours), "theirs": list(theirs), "difference": None, "equal": False}
    pairs = list(zip(ours, theirs, strict=True))
    equal = all(abs(a - b) <= tolerance * max(1.0, abs(a)) for a, b in pairs)
    return {
        "ours": list(ours),
        "theirs": list(theirs),
        "difference": max(abs(a - b) for a, b in pairs),
        "equal": equal,
    }


def busy_warnings(load: float, others: float | None, during: float | None) -> list[str]:
    """What must be said when the machine was not quiet: before the case and while it was timed.

    The load average holds what ran a minute ago, our own last case too: it speaks only where others can't be measured.
    """
    found = []
    if others is None and load > QUIET:
        found.append(f"the machine was busy before the run: load average {load:.2f}")
    if others is not None and others > QUIET:
        found.append(f"the machine was busy before this case: others used {others:.2f} cores")
    if during is not None and during > QUIET:
        found.append(f"the machine was busy during this case: others used {during:.2f} cores")
    return found


def busy_seconds() -> float | None:
    """Seconds that all cores have worked since the machine started; None where the system does not tell."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    numbers = [int(field) for field in fields[:8]]
    return (sum(numbers) - numbers[3] - numbers[4]) / os.sysconf("SC_CLK_TCK")  # without idle and waiting


def others_now(seconds: float) -> float | None:
    """Cores that others use while this process sleeps so long, and its workers wait."""
    before = busy_seconds()
    time.sleep(seconds)
    after = busy_seconds()
    return None if before is None or after is None or seconds <= 0 else (after - before) / seconds


def others_during(before: float | None, after: float | None, ours: float, wall: float) -> float | None:
    """Cores that others used while ours were timed: `ours` seconds of work in `wall` seconds."""
    return None if before is None or after is None or wall <= 0 else max(0.0, (after - before - ours) / wall)


@contextmanager
def watched(seconds: float = 2.0) -> Iterator[dict[str, Any]]:
    """Fills what it gives with how busy others were, before the block (for so long) and while it ran, and warnings."""
    found: dict[str, Any] = {"load_before": os.getloadavg()[0], "others_before": others_now(seconds)}
    before, cpu, began = busy_seconds(), time.process_time(), time.perf_counter()
    yield found
    wall = time.perf_counter() - began
    found["others_during"] = others_during(before, busy_seconds(), time.process_time() - cpu, wall)
    found["warnings"] = busy_warnings(found["load_before"], found["others_before"], found["others_during"])


def versions() -> dict[str, str]:
    """Of Python and of the packages that a number may depend on."""
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """Processor, cores and memory."""
    name = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (OSError, ValueError):
        memory = 0.0
    return {"cpu": name, "cores": cores, "memory_gb": round(memory, 1), "system": platform.system()}


def write_atomically(path: Path, text: str) -> None:
    """`path` holds either what it held or all of `text`, whatever happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """A record, numbers to six significant digits, so that it can be read."""
    write_atomically(path, json.dumps(_short(values), indent=1, ensure_ascii=False) + "\n")


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {name: _short(one) for name, one in value.items()}
    return [_short(one) for one in value] if isinstance(value, (list, tuple)) else value

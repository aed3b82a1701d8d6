"""Counting: how many pairs of method and family each law was shown to hold for, and how many are refused.

A test calls `law(4)` for each pair that it checks and `law(4, "refused")` for each that the program refuses. Pairs of
failed tests count as failed. With FOREWORD_LAW_COUNTS set, the counts are written there as JSON when the session ends,
and with them the largest differences that tests of law 12 recorded as "what: 1e-6" (`make laws`).
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from foreword.artifacts.manifest import machine, versions


@pytest.fixture
def law(record_property):
    def record(number: int, outcome: str = "passed", times: int = 1) -> None:
        for _ in range(times):
            record_property(f"law {number}", outcome)

    return record


class _Counter:
    def __init__(self) -> None:
        self.laws: dict[str, Counter[str]] = defaultdict(Counter)
        self.largest: dict[str, tuple[float, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            for name, outcome in report.user_properties:
                if name.startswith("law "):
                    self.laws[name]["failed" if report.failed else outcome] += 1
                elif name == "difference":
                    self._differs(*outcome.rsplit(": ", 1))

    def pytest_sessionfinish(self) -> None:
        target = os.environ.get("FOREWORD_LAW_COUNTS")
        if target and self.laws:
            order = sorted(self.laws, key=lambda name: int(name.split()[1]))
            counts = {name: {"passed": 0, "refused": 0} | dict(self.laws[name]) for name in order}
            differences = {name: {"largest": value, "of": what} for name, (value, what) in sorted(self.largest.items())}
            found = {"laws": counts, "differences": differences, "versions": versions(), "machine": machine()}
            Path(target).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")

    def _differs(self, what: str, value: str) -> None:
        kind, _, of = what.partition(" ")
        self.largest[kind] = max(self.largest.get(kind, (0.0, "")), (float(value), of))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config) -> None:
    if not config.pluginmanager.has_plugin("foreword-law-counts"):
        config.pluginmanager.register(_Counter(), "foreword-law-counts")

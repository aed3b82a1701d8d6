"""The live figures: the numbers of `/metrics`, now and over the last minutes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from time import perf_counter

from markupsafe import Markup

from foreword.page.markup import tag
from foreword.serving.metrics import Metrics
from foreword.serving.pages.rendering import size, time
from foreword.serving.service import Service

EVERY_SECONDS = 2.0
KEPT = 150
WINDOW = 30
"""Rates and times are those of so many samples: the last minute."""

Values = Mapping[str, float]


@dataclass(frozen=True)
class Sample:
    """The figures at one time, in seconds: `name` for gauges, and as in /metrics for the others, over all labels.

    Buckets of a histogram are called `name_bucket le`.
    """

    at: float
    values: Values


@dataclass(frozen=True)
class Figure:
    """One figure as it is shown, with its course."""

    name: str
    value: str
    note: str = ""
    course: Markup = Markup("")


def read(metrics: Metrics) -> Sample:
    """All figures now."""
    found: dict[str, float] = {}
    for family in metrics.registry.collect():
        for one in family.samples:
            name = one.name.removeprefix("foreword:")
            key = f"{name} {one.labels['le']}" if name.endswith("_bucket") else name
            found[key] = found.get(key, 0.0) + one.value
    return Sample(perf_counter(), found)


class Course:
    """The figures of the last minutes, read now and then on the event loop between `start` and `stop`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.samples: deque[Sample] = deque([read(metrics)], KEPT)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._look())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            self.samples.append(read(self._metrics))


def figures(service: Service, course: Course) -> list[Figure]:
    """What the page shows."""
    samples = [*course.samples, read(service.metrics)]
    now, minute = samples[-1].values, samples[-min(len(samples), WINDOW) :]
    return [
        _gauge(samples, "num_requests_waiting", "Waiting", f"of {service.limits.queue} that may"),
        _gauge(samples, "num_requests_running", "Texts being written", f"of {service.limits.slots} slots"),
        _rate(samples, "request_success_total", "Requests a second"),
        _rate(samples, "generation_tokens_total", "Tokens a second"),
        _mean(samples, minute, "batch_size", "Batch size", "inputs in a pass, texts in a step"),
        _mean(samples, minute, "batch_forewords", "Forewords in a batch", "distinct ones, the bare model as one"),
        _times(samples, minute, "time_to_first_token_seconds", "Time to first token"),
        _times(samples, minute, "inter_token_latency_seconds", "From token to token"),
        _times(samples, minute, "e2e_request_latency_seconds", "A whole request"),
        Figure(
            "Forewords in memory",
            f"{now['forewords_resident']:.0f}",
            f"{size(now['forewords_resident_bytes'])} of {size(service.limits.resident_bytes)}",
            sparkline([one.values["forewords_resident_bytes"] for one in samples]),
        ),
        Figure(
            "Key/values of texts",
            f"{100 * now['kv_cache_usage_perc']:.0f} %",
            f"of {size(service.limits.cache_bytes)}",
            sparkline([one.values["kv_cache_usage_perc"] for one in samples]),
        ),
        Figure(
            "Errors",
            f"{now.get('request_failure_total', 0):.0f}",
            f"{now['foreword_loads_total']:.0f} forewords loaded, {now['foreword_evictions_total']:.0f} let go",
            sparkline(list(_slopes(samples, "request_failure_total"))),
        ),
    ]


def _gauge(samples: Sequence[Sample], key: str, name: str, note: str) -> Figure:
    course = [one.values[key] for one in samples]
    return Figure(name, f"{course[-1]:.0f}", note, sparkline(course))


def _rate(samples: Sequence[Sample], key: str, name: str) -> Figure:
    last = samples[-min(len(samples), WINDOW) :]
    passed, total = last[-1].at - last[0].at, last[-1].values.get(key, 0.0)
    rate = (total - last[0].values.get(key, 0.0)) / passed if passed > 0 else 0.0
    return Figure(name, f"{rate:.2g}" if rate < 10 else f"{rate:,.0f}", f"{total:,.0f} in all",
                  sparkline(list(_slopes(samples, key))))  # fmt: skip


def _mean(samples: Sequence[Sample], minute: Sequence[Sample], key: str, name: str, note: str) -> Figure:
    mean = _average(minute[0].values, minute[-1].values, key)
    return Figure(name, "–" if mean is None else f"{mean:.1f}", note, sparkline(list(_averages(samples, key))))


def _times(samples: Sequence[Sample], minute: Sequence[Sample], key: str, name: str) -> Figure:
    """The mean, and what nine of ten are below."""
    mean, most = _average(minute[0].values, minute[-1].values, key), quantile(minute, key, 0.9)
    note = "nobody asked in the last minute" if most is None else f"nine of ten below about {time(most)}"
    return Figure(name, "–" if mean is None else time(mean), note, sparkline(list(_averages(samples, key))))


def _average(before: Values, after: Values, key: str) -> float | None:
    """Of what was observed between two samples."""
    count = after[f"{key}_count"] - before[f"{key}_count"]
    return (after[f"{key}_sum"] - before[f"{key}_sum"]) / count if count > 0 else None


def _averages(samples: Sequence[Sample], key: str) -> Iterator[float]:
    """Of each step; where nothing was observed, what it was before."""
    last = 0.0
    for before, after in zip(samples, samples[1:], strict=False):
        found = _average(before.values, after.values, key)
        last = last if found is None else found
        yield last


def _slopes(samples: Sequence[Sample], key: str) -> Iterator[float]:
    """The rate of each step."""
    for before, after in zip(samples, samples[1:], strict=False):
        passed = after.at - before.at
        yield (after.values.get(key, 0.0) - before.values.get(key, 0.0)) / passed if passed > 0 else 0.0


def quantile(samples: Sequence[Sample], key: str, share: float) -> float | None:
    """What so large a share of the observations between the first and the last sample is below, from the buckets.

    Within a bucket they are taken to lie evenly, as Prometheus does; above the last bound, at it.
    """
    before, after = samples[0].values, samples[-1].values
    prefix = f"{key}_bucket "
    bounds = sorted((float(name.removeprefix(prefix)), name) for name in after if name.startswith(prefix))
    counts = [after[name] - before.get(name, 0.0) for _, name in bounds]
    if not counts or counts[-1] <= 0:
        return None
    wanted, low, below = share * counts[-1], 0.0, 0.0
    for (bound, _), count in zip(bounds, counts, strict=True):
        if count >= wanted:
            return low if bound == inf else min(low + (bound - low) * (wanted - below) / (count - below), bound)
        low, below = bound, count
    return low


def sparkline(values: Sequence[float]) -> Markup:
    """The course of a figure, from 0 to its largest value; only an ornament beside the number."""
    if len(values) < 2:
        return Markup("")
    most, last = max(*values, 0.0) or 1.0, len(values) - 1
    points = " ".join(f"{100 * place / last:.1f},{23 - 21 * max(value, 0.0) / most:.1f}"
                      for place, value in enumerate(values))  # fmt: skip
    line = tag("polyline", points=points, class_="line")
    area = tag("polygon", points=f"0,24 {points} 100,24", class_="area")
    return tag("svg", area, line, class_="spark", viewBox="0 0 100 24", preserveAspectRatio="none", aria_hidden="true")

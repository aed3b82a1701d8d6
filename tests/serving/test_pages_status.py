"""The live figures: those of /metrics, and what is made of them."""

import re
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from foreword.serving.metrics import Metrics
from foreword.serving.pages.figures import Course, Sample, figures, quantile, read, sparkline

from .conftest import get, post
from .paging import Page, browse


def test_the_figures_are_those_of_the_metrics(writing):
    url, service = writing
    post(f"{url}/v1/completions", json={"model": "lora", "prompt": "good", "max_tokens": 3}, timeout=60)
    told = get(f"{url}/metrics").text
    while re.search(r"^foreword:num_requests_(running|waiting) [1-9]", told, re.M):  # answered, and not yet put away
        told = get(f"{url}/metrics").text
    found = read(service.metrics).values
    for line in told.splitlines():
        if line.startswith("foreword:") and "{" not in line and "_created" not in line:
            name, _, value = line.removeprefix("foreword:").partition(" ")
            assert found[name] == float(value)
    page = Page(browse(url, "/status").text)
    total = sum(float(v) for v in re.findall(r"^foreword:request_success_total\{.*\} (.*)$", told, re.M))
    assert f"{total:.0f} in all" in page.words and "ready" in page.words and "lora" in page.words
    assert page.all("div", **{"hx-get": "/pages/status/figures"})
    part = Page(browse(url, "/status/figures", headers={"hx-request": "true"}).text)
    assert len(part.all("li")) == 12 and not part.all("h1")
    still = Page(browse(url, "/status?still=1").text)
    assert not still.all("div", **{"hx-get": "/pages/status/figures"})


def test_rates_and_times_are_those_of_the_last_minute(writing):
    _, service = writing
    course = Course(Metrics())
    start = read(service.metrics)
    early = {**start.values}
    early["request_success_total"] = start.values.get("request_success_total", 0.0) - 30
    early["time_to_first_token_seconds_count"] -= 2
    early["time_to_first_token_seconds_sum"] -= 5.0
    for name in early:
        if name.startswith("time_to_first_token_seconds_bucket") and float(name.split()[1]) >= 2.5:
            early[name] -= 2
    course.samples.clear()
    course.samples.append(Sample(start.at - 10, early))
    shown = {one.name: one for one in figures(service, course)}
    assert 2.9 < float(shown["Requests a second"].value) <= 3.01
    assert shown["Time to first token"].value == "2.50 s"
    assert shown["Time to first token"].note == "nine of ten below about 2.35 s"  # between 1 and 2.5 s
    assert shown["From token to token"].note == "nobody asked in the last minute"


@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), st.integers(0, 9), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_that_reaches_it(counts, beyond, share, other):
    bounds = [0.1 * 2**i for i in range(len(counts))]
    totals = [sum(counts[: i + 1]) for i in range(len(counts))]
    values = {f"x_bucket {bound}": float(total) for bound, total in zip(bounds, totals, strict=True)}
    values["x_bucket +Inf"] = float(totals[-1] + beyond)
    samples = [Sample(0, {}), Sample(1, values)]
    found = quantile(samples, "x", share)
    if not values["x_bucket +Inf"]:
        assert found is None
        return
    assert found is not None and 0 <= found <= bounds[-1] < inf
    wanted = share * values["x_bucket +Inf"]
    if wanted <= totals[-1]:
        place = next(i for i, total in enumerate(totals) if total >= wanted)
        assert (bounds[place - 1] if place else 0) <= found <= bounds[place]
    least, most = sorted([share, other])
    assert quantile(samples, "x", least) <= quantile(samples, "x", most)


@given(st.lists(st.floats(0, 1e9), max_size=60))
def test_a_sparkline_stays_in_its_drawing(values):
    points = re.findall(r"([\d.]+),([\d.]+)", str(sparkline(values)))
    assert bool(points) == (len(values) > 1)
    assert all(0 <= float(x) <= 100 and 0 <= float(y) <= 24 for x, y in points)

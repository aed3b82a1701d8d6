"""The main job from end to end: real reviews, a real encoder, four ways to classify, one table and one page."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreword import api
from foreword.config import RunConfig, build
from foreword.evaluation.report import Curve, RunSummary, write_report
from foreword.evaluation.report import Prediction as Shown
from foreword.training.loop import Reporter, Silent

SENTENCES = (
    "The battery lasts for two days and the screen is gorgeous.",
    "It stopped working after a week, and nobody answers my mails.",
    "I wanted to love it, but the buttons are far too small.",
    "Not bad at all for the price!",
)
FORM = "Review: {text}\nSentiment: {mask}"


@dataclass(frozen=True)
class Outcome:
    """What the demo made: the table's rows, predictions for the sentences, and where things lie."""

    rows: list[RunSummary]
    predictions: list[tuple[str, api.Prediction]]
    artifact: Path
    report: Path
    seconds: float


def recipes(quick: bool) -> dict[str, dict[str, Any]]:
    """The demo's three runs as plain settings; the majority class is a fourth row without one."""
    data: dict[str, Any] = {"source": "reviews"}
    if quick:
        data["limit"] = {"train": 960, "validation": 160, "test": 200}
    shared = {"data": data, "seed": 0}
    encoder = {**shared, "backbone": "minilm-l6", "template": {"max_length": 96}}
    return {
        "linear probe": {
            **encoder,
            "method": "linear-probe",
            "readout": {"name": "linear", "position": "mean"},
            "training": {"epochs": 4 if quick else 6, "learning_rate": 2e-2},
        },
        "P-Tuning v2": {
            **encoder,
            "method": {"name": "p-tuning-v2", "num_virtual_tokens": 16},
            "readout": {"name": "linear", "position": "mean"},
            "training": {"epochs": 3 if quick else 4, "learning_rate": 1e-2, "patience": 3},
        },
        "hard prompt": {
            **shared,
            "backbone": "smollm2-135m-instruct",
            "method": "hard",
            "data": {**data, "limit": {**data.get("limit", {}), "train": 2, "validation": 2}},
            "template": {"text": FORM, "max_length": 160},
            "readout": {"name": "verbalizer", "words": {"positive": "positive", "negative": "negative"}},
        },
    }


def run(
    folder: Path,
    quick: bool = False,
    sentences: Sequence[str] = SENTENCES,
    say: Callable[[str], None] = lambda text: None,
    reporter: Callable[[str], Reporter] = lambda title: Silent(),
) -> Outcome:
    """Do it all; `folder` is where the run, the artifact and the page go."""
    started = time.perf_counter()
    rows: list[RunSummary] = []
    results: dict[str, api.Result] = {}
    for title, values in recipes(quick).items():
        say(title)
        config = build(RunConfig, values)
        place = folder / title.lower().replace(" ", "-")
        results[title] = api.train(config, folder=place, overwrite=True, reporter=reporter(title))
    first = results["P-Tuning v2"]
    rows.append(_majority(first))
    rows += [_row(title, results[title]) for title in ("hard prompt", "linear probe", "P-Tuning v2")]
    predictions = list(zip(sentences, first.foreword.predict(list(sentences)), strict=True))
    report = folder / "report.html"
    write_report(
        report,
        title="Product reviews: positive or negative?",
        table=rows,
        curves=[_curve(title, results[title]) for title in ("linear probe", "P-Tuning v2")],
        examples=[Shown(text, made.label, made.probability) for text, made in predictions],
        notes=_notes(first, quick),
        provenance={"seed": 0, **first.record["versions"], **first.record["machine"]},
    )
    assert first.folder is not None
    return Outcome(rows, predictions, first.folder / "artifact", report, time.perf_counter() - started)


def _majority(result: api.Result) -> RunSummary:
    test = result.record["test"]
    scores = test["majority"]
    return RunSummary(
        "majority class", "majority", "none", scores["accuracy"], scores["macro_f1"], 0, None, test["rows"]
    )


def _row(title: str, result: api.Result) -> RunSummary:
    record = result.record
    test, trained = record["test"], record["parameters"]["trained"]
    return RunSummary(
        name=title,
        method=record["method"],
        backbone=record["backbone"],
        accuracy=test["accuracy"],
        macro_f1=test["macro_f1"],
        trained_parameters=trained,
        seconds=record["seconds"] if trained else None,
        rows=test["rows"],
        degenerate=test["degenerate"],
        command=f"foreword train {result.folder}/run.yaml --output runs/again",
    )


def _curve(title: str, result: api.Result) -> Curve:
    points = result.record["curve"]
    loss = [(int(p["step"]), float(p["loss"])) for p in points]
    return Curve(title, loss, [(int(p["step"]), float(p["validation.accuracy"])) for p in points])


def _notes(result: api.Result, quick: bool) -> list[str]:
    notes = [
        "Sentences of product reviews with the mean rating of human raters; those rated within 0.5 of neutral are left "
        "out. One seed, so differences of a point or two mean nothing.",
        f"Trained on {result.record['train']['rows']:,} sentences, scored on {result.record['test']['rows']:,} others.",
    ]
    return [*notes, "This was the quick setting: a part of the data, and fewer epochs."] if quick else notes

"""A trained foreword in use: load it, predict, write, tag or find, evaluate."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import torch

from foreword import config as configs
from foreword.artifacts import storage
from foreword.artifacts.manifest import IMPORTED, Manifest
from foreword.assembly import Example, Reader
from foreword.backbone.backbone import Backbone
from foreword.backbone.loading import load as load_backbone
from foreword.bank import Bank
from foreword.batch import Item
from foreword.config import DataConfig
from foreword.data import Dataset
from foreword.data.loading import load as load_data
from foreword.errors import ConfigError, DataError
from foreword.evaluation.measuring import evaluate
from foreword.evaluation.scoring import Scored, score_items
from foreword.evaluation.spotting import Found, Tagged, found, tagged
from foreword.evaluation.writing import written

MAX_TOKENS = 16384
Input = str | Sequence[str] | Mapping[str, Any]
Inputs = Sequence[Input]
USES = {"class": "predict", "text": "write", "tags": "tag", "span": "find"}
"""The method of `Foreword` that answers, by the kind of answer."""
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Prediction:
    """The most probable label of one input, its probability, and those of all labels."""

    label: str
    probability: float
    probabilities: dict[str, float]


@dataclass
class Foreword:
    """A trained foreword on its backbone, ready to be used; made by `load` or by `train`."""

    name: str
    bank: Bank
    reader: Reader
    manifest: Manifest

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the labels, in the order of their numbers."""
        return self.reader.labels

    @property
    def use(self) -> str:
        """The method that answers: `predict`, `write`, `tag` or `find`."""
        return USES[self.reader.task.answer]

    def predict(self, inputs: Inputs) -> list[Prediction]:
        """Predict the label of each input: a text, a pair of texts, or a mapping of the task's fields.

        **Raises** `DataError` for an input that does not have the task's fields; `ConfigError` for a foreword whose
        answers are no classes.
        """
        self._require("predict")
        items = self._items(inputs)
        if not items:
            return []
        probabilities = torch.stack(score_items(self.bank, items, MAX_TOKENS)).float().softmax(-1).tolist()
        return [self._prediction(row) for row in probabilities]

    def write(self, inputs: Inputs, advance: Advance = lambda n: None) -> list[str]:
        """The text that it writes for each input; inputs and errors as in `predict`."""
        self._require("write")
        return written(self.bank, self._items(inputs), MAX_TOKENS, advance)

    def tag(self, inputs: Inputs, advance: Advance = lambda n: None) -> list[Tagged]:
        """The tag of each word of each input: a list of words, or a text, which is split at white space.

        Errors as in `predict`.
        """
        self._require("tag")
        return tagged(self.bank, self._items(inputs), self.labels, MAX_TOKENS, advance)

    def find(self, inputs: Inputs, advance: Advance = lambda n: None) -> list[Found]:
        """The part of each input's text that answers it; inputs and errors as in `predict`."""
        self._require("find")
        return found(self.bank, self._items(inputs), MAX_TOKENS, advance)

    def _require(self, use: str) -> None:
        if self.use != use:
            kinds = {"predict": "labels", "write": "texts", "tag": "tags", "find": "parts of its inputs"}
            raise ConfigError(
                f"'{self.name}' answers with {kinds[self.use]}, and {use} gives {kinds[use]}", do=f"use {self.use}"
            )

    def _items(self, inputs: Inputs) -> list[Item]:
        if isinstance(inputs, str):
            raise DataError("inputs are a list, not one text", do="put it in brackets: [text]")
        return [self.reader.item(self.example(one), self.name) for one in inputs]

    def evaluate(self, rows: Sequence[Example], advance: Advance = lambda n: None) -> Scored:
        """Score rows with their target.

        It is a class number in the order of `labels`, a tuple of such numbers, one a word, or a tuple of texts that are
        right. **Raises** `DataError`.
        """
        if not rows:
            raise DataError("there are no rows to evaluate", do="give at least one")
        for number, row in enumerate(rows, 1):
            self._check_target(row, f"row {number}")
        items = [self.reader.item(row, self.name) for row in rows]
        return evaluate(self.bank, items, self.reader.task, self.labels, MAX_TOKENS, advance)

    def _check_target(self, row: Example, where: str) -> None:
        task, given = self.reader.task, row.get(self.reader.task.target)
        if task.answer in ("text", "span"):
            if not isinstance(given, tuple) or not given:
                do = f"give {task.target} as a tuple of the texts that are right"
                raise DataError(f"a row has no {task.target}", where=where, do=do)
            return
        words = len(row.get(task.spot, ())) if task.answer == "tags" else None
        if words is not None and (not isinstance(given, tuple) or len(given) != words):
            raise DataError(
                f"a row has {words} words, and no {task.target} for them", where=where, do="give one a word"
            )
        for label in given if isinstance(given, tuple) else (given,):
            if not isinstance(label, Integral) or not 0 <= int(label) < len(self.labels):
                do = f"give a number from 0 to {len(self.labels) - 1}, for {', '.join(self.labels)}"
                raise DataError(f"the {task.target} of a row is {label!r}, no class number", where=where, do=do)

    def example(self, given: Input) -> dict[str, Any]:
        """One input as the task's fields."""
        task = self.reader.task
        fields = task.fields
        if task.words:
            return {task.words: _words(given, task.words)}
        if isinstance(given, Mapping):
            missing = [name for name in fields if not isinstance(given.get(name), str)]
            if missing:
                raise DataError(f"an input lacks the text field '{missing[0]}'", do=f"give {', '.join(fields)}")
            return {name: given[name] for name in task.inputs if isinstance(given.get(name), str)}
        texts = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
        if len(texts) != len(fields) or not all(isinstance(text, str) for text in texts):
            raise DataError(
                f"an input of this task has {len(fields)} text(s) ({', '.join(fields)}), not {len(texts)}",
                do="give a mapping such as " + json.dumps({name: "..." for name in fields}),
            )
        return dict(zip(fields, texts, strict=True))

    def _prediction(self, row: Sequence[float]) -> Prediction:
        best = max(range(len(row)), key=row.__getitem__)
        return Prediction(self.labels[best], row[best], dict(zip(self.labels, row, strict=True)))


def _words(given: Input, field: str) -> tuple[str, ...]:
    """The words of one input: as they are given, or those of a text."""
    value = given.get(field) if isinstance(given, Mapping) else given
    words = tuple(value.split()) if isinstance(value, str) else tuple(value or ())
    if not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise DataError(
            f"an input has no words but {value!r:.60}", do=f'give {{"{field}": ["a", "list", "of", "words"]}}'
        )
    return words


def load(folder: str | Path, backbone: Backbone | None = None, *, int8: bool = False) -> Foreword:
    """A trained foreword, on its backbone (loaded by its name, unless one is given).

    `int8`: the backbone's layers compute in 8 bits from now on, those of one that is given too: faster on processors
    with such instructions, and not exact.

    **Raises** `ArtifactError` for a broken or foreign artifact, before any model is loaded.
    """
    artifact = storage.read(folder)
    info = artifact.manifest.backbone
    found = backbone if backbone is not None else load_backbone(info.name)
    if int8:
        found.round_to_int8()
    reader = artifact.attach(found)
    bank = Bank(found)
    bank.put(artifact.manifest.name, artifact.injection, reader.readout)
    return Foreword(artifact.manifest.name, bank, reader, artifact.manifest)


def data_for(foreword: Foreword, source: str | None, columns: Mapping[str, str] | None = None) -> Dataset:
    """The data to evaluate a foreword on: those of its run, or `source`, with the foreword's own labels.

    A file that the foreword was not trained on is one whole test split. **Raises** `DataError`.
    """
    run = foreword.manifest.run.get("data")
    known = isinstance(run, Mapping) and source == run.get("source") and not columns
    if source is not None and not known:
        values: Mapping[str, Any] = {
            "source": source,
            "columns": dict(columns or {}),
            "labels": list(foreword.labels) or None,
        }
    elif columns:
        raise DataError("columns are those of a data source, and none is given", do="name it by --data")
    elif isinstance(run, Mapping) and str(run.get("source")).startswith(IMPORTED):
        raise DataError(
            "the foreword was imported, and a PEFT checkpoint does not say what it was trained on",
            do="name a data source by --data",
        )
    elif not isinstance(run, Mapping):
        raise DataError("the foreword does not say what it was trained on", do="name a data source by --data")
    else:
        values = run
    dataset = load_data(configs.build(DataConfig, values), foreword.reader.task, held_out=values is not run)
    if dataset.labels != foreword.labels:
        raise DataError(
            f"the labels of the data are {', '.join(dataset.labels)}, and the foreword's {', '.join(foreword.labels)}",
            where=dataset.source,
            do="give data with the foreword's labels by --data",
        )
    return dataset

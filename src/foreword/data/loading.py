"""From the description of a source to a checked `Dataset`."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from foreword import registry
from foreword.config import DataConfig, SplitConfig
from foreword.data import checking, files, hub, lama, reviews, splitting
from foreword.data.dataset import SPLITS, Dataset, Example, Split
from foreword.data.files import Table
from foreword.data.named import NAMED, find_folder
from foreword.errors import DataError, did_you_mean
from foreword.tasks.base import Task


@dataclass(frozen=True)
class Raw:
    """What a source holds before anything is checked; `columns` are the source's own names for the task's fields."""

    tables: Mapping[Split, Table]
    source: str
    names: tuple[str, ...] | None = None
    columns: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()


def task_for(config: DataConfig, name: str | None = None) -> Task:
    """The task called `name`; else the named set's own; else pairs where a column is mapped to `text1`, or one text."""
    if name is None:
        named = NAMED.get(config.source.partition(":")[0])
        name = named.task if named else "pair-classification" if "text1" in config.columns else "classification"
    task: Task = registry.tasks.get(name)()
    return task


def load(config: DataConfig, task: Task | None = None, *, held_out: bool = False) -> Dataset:
    """The examples that `config` describes, checked for `task` (default: `task_for(config)`).

    `config.source` is a named set, else an existing file or folder (`./mrpc` is always a folder), else a hub name. A
    source with only training rows is cut into splits by `config.split`; one with train and test gives its validation
    rows from train.

    `held_out`: only to be scored, by what was trained elsewhere. Then a source with only training rows is one whole
    test split, one class is enough, and `config.labels` have to be the source's own names.

    **Raises** `DataError` with the place of what is wrong.
    """
    task = task or task_for(config)
    raw = _read(config, task)
    mapping = checking.check_mapping({**(raw.columns or {}), **config.columns}, task)
    rows = {split: checking.select(table, mapping, task) for split, table in raw.tables.items()}
    if task.answer in ("text", "span"):
        return _written(rows, config, task, raw, held_out)
    values = [label for part in rows.values() for row in part for label in checking.labels_in(row[task.target])]
    if held_out and raw.names and config.labels and set(raw.names) != set(config.labels):
        known = f"its classes are {', '.join(raw.names)}, not {', '.join(config.labels)}"
        raise DataError(f"the data have other labels: {known}", where=raw.source, do="give data with the same labels")
    names = checking.class_names(values, raw.names, config.labels)
    if task.answer == "tags":
        checking.check_tags(names, raw.source)
    if task.open_labels:
        whose = "those of data.labels" if config.labels else f"every {task.target} of all splits"
        raw = replace(raw, notes=(*raw.notes, f"{len(names)} candidates: {whose}"))
    numbers = not task.open_labels
    indexed = {
        split: checking.index_labels(raw.tables[split], part, task.target, names, raw.names, numbers)
        for split, part in rows.items()
    }
    if held_out and list(indexed) == ["train"]:
        return Dataset(config.source, {"test": indexed["train"]}, names, task.name, raw.source, raw.notes)
    _check(indexed, task, names, raw.source)
    splits, notes = _split(indexed, task, config, raw)
    kept = _limit(splits, task, config, names)
    notes = (*notes, *(_check(kept, task, names, raw.source) if task.answer == "tags" else ()))
    return Dataset(config.source, kept, names, task.name, raw.source, notes)


def _check(
    splits: Mapping[Split, tuple[Example, ...]], task: Task, names: tuple[str, ...], source: str
) -> tuple[str, ...]:
    """What has to hold of classes, and what there is to tell."""
    if not task.open_labels:
        return checking.check_classes(splits, task.target, names, source, task.answer == "tags")
    if len(names) < 2:
        raise DataError(f"there is one {task.target} alone, '{names[0]}'", where=source, do="add rows of others")
    return ()


def _written(rows: Mapping[Split, list[Example]], config: DataConfig, task: Task, raw: Raw, held_out: bool) -> Dataset:
    """The examples of a task whose answers are texts or parts of them: they have no classes."""
    if config.labels:
        raise DataError(f"data.labels names classes, and the answers of {task.name} are texts", do="take it out")
    found = {split: tuple(part) for split, part in rows.items()}
    if held_out and list(found) == ["train"]:
        return Dataset(config.source, {"test": found["train"]}, (), task.name, raw.source, raw.notes)
    splits, notes = _split(found, task, config, raw)
    return Dataset(config.source, _limit(splits, task, config, ()), (), task.name, raw.source, notes)


def _read(config: DataConfig, task: Task) -> Raw:
    source = config.source
    path = Path(os.path.expanduser(source))  # leaves ~nobody as it is
    name, _, part = source.partition(":")
    if name in NAMED:
        return _named(name, part, config, task)
    if path.is_dir():
        return Raw(files.read_folder(path), str(path), files.read_label_names(path))
    if path.is_file():
        return Raw({"train": files.read(path)}, str(path))
    if source.startswith((".", "/", "~")) or "\\" in source or files.suffix(path) in files.READERS:
        raise DataError(f"no such file or folder: {source}", do="check the path (it counts from the current folder)")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?", source):
        raise DataError(
            f"unknown data source '{source}'", do=f"{did_you_mean(source, NAMED)}; or a file, folder, hub name"
        )
    if difflib.get_close_matches(name, NAMED, n=1, cutoff=0.75):
        raise DataError(f"unknown data set '{source}'", do=f"{did_you_mean(name, NAMED)}; or give a file or folder")
    return _hub(source, config, task)


def _named(name: str, part: str, config: DataConfig, task: Task) -> Raw:
    if name == "reviews":
        table, classes, notes = reviews.read(part or "products")
        return Raw({"train": table}, f"vaderSentiment, {part or 'products'}", classes, notes=notes)
    if part and name != "lama":
        raise DataError(f"the set '{name}' has no parts, so '{name}:{part}' is unknown", do=f"write '{name}'")
    folder = find_folder(name)
    if folder is not None and name == "lama":
        tables, notes = lama.read(folder, part)
        return Raw(tables, os.path.relpath(folder), None, NAMED[name].columns, notes)
    if folder is not None:
        # the nearest spelling, as this is recorded with results
        columns = NAMED[name].columns
        return Raw(files.read_folder(folder), os.path.relpath(folder), files.read_label_names(folder), columns)
    entry = NAMED[name]
    if entry.hub is None:
        do = f"set FOREWORD_DATA to a folder that holds {name}/, or give a path"
        raise DataError(f"'{name}' is in no folder here", do=do)
    try:
        return _hub(entry.hub, config, task, entry.hub_columns)
    except DataError as error:
        do = f"set FOREWORD_DATA to a folder that holds {name}/, or give a path; for the hub: {error.do}"
        raise DataError(f"'{name}' is in no folder here, and not to be had: {error.what}", do=do) from None


def _hub(source: str, config: DataConfig, task: Task, columns: Mapping[str, str] | None = None) -> Raw:
    target = config.columns.get(task.target, task.target)
    tables, names, notes = hub.read(source, target)
    return Raw(tables, f"hub {source}", names, columns, notes)


def _split(
    indexed: Mapping[Split, tuple[Example, ...]], task: Task, config: DataConfig, raw: Raw
) -> tuple[dict[Split, tuple[Example, ...]], tuple[str, ...]]:
    """The source's own splits where it has them, and what has to be cut from its training rows.

    **Raises** `DataError` for settings of the cut that would do nothing.
    """
    set_ = [name for name, value in config.split if value != getattr(SplitConfig(), name)]
    idle = set_ if "validation" in indexed else [name for name in set_ if name == "test" and "test" in indexed]
    if idle:
        raise DataError(
            f"data.split.{idle[0]} would do nothing: {raw.source} has splits of its own ({', '.join(indexed)})",
            do=f"take data.split.{idle[0]} out",
        )
    if "validation" in indexed or ("test" in indexed and config.split.validation == 0):
        return {split: indexed[split] for split in SPLITS if split in indexed}, raw.notes
    shares = config.split.model_copy(update={"test": 0.0}) if "test" in indexed else config.split
    made = splitting.cut(indexed["train"], task.inputs, task.target, shares, raw.source)
    cut = ", ".join(split for split in made if split != "train")
    note = (f"{cut} cut from the training rows (seed {shares.seed})",) if cut else ()
    return {split: rows for split in SPLITS if (rows := made.get(split) or indexed.get(split))}, (*raw.notes, *note)


def _limit(
    splits: Mapping[Split, tuple[Example, ...]], task: Task, config: DataConfig, names: tuple[str, ...]
) -> dict[Split, tuple[Example, ...]]:
    kept = dict(splits)
    for split, count in config.limit.items():
        if split not in kept:
            raise DataError(f"there is no split '{split}' to limit", where=config.source, do=did_you_mean(split, kept))
        kept[split] = splitting.sample(kept[split], task.target, count, config.limit_seed)
    if "train" in config.limit and names:
        _check(kept, task, names, f"{config.source}, data.limit.train")
    return kept

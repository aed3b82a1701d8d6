"""Raw rows to checked rows: columns to the task's fields, label values to class indices, and what must hold of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foreword.data.dataset import Example, Split
from foreword.data.files import Table
from foreword.errors import DataError, did_you_mean, is_text
from foreword.tasks.base import Task


def check_mapping(columns: Mapping[str, str], task: Task) -> dict[str, str]:
    """The source column of each of the task's fields. **Raises** `DataError`: unknown field, column used twice."""
    fields = (*task.inputs, task.target)
    for field in columns:
        if field not in fields:
            raise DataError(f"the task '{task.name}' has no field '{field}'", do=did_you_mean(field, fields))
    mapping = {field: columns.get(field, field) for field in fields}
    by_column: dict[str, str] = {}
    for field, column in mapping.items():
        if column in by_column:
            do = "map every field to a column of its own"
            raise DataError(f"the column '{column}' is used for both '{by_column[column]}' and '{field}'", do=do)
        by_column[column] = field
    return mapping


def select(table: Table, mapping: Mapping[str, str], task: Task) -> list[Example]:
    """Rows of just the mapped fields, with checked texts.

    A class or a tag is still as the source spells it; a text that is to be written or found is a tuple of all that
    would be right, and words and their tags are tuples.
    """
    target, read = task.target, {"class": _label, "tags": _tags}.get(task.answer, _texts)
    rows = []
    for index, raw in enumerate(table.rows):
        row: Example = {}
        for field, column in mapping.items():
            if column not in raw and field in task.optional and column == field:
                continue
            if column not in raw:
                known = did_you_mean(column, map(str, raw))
                do = f"{known}; map a field to a column with columns: {{{field}: NAME}}"
                raise DataError(f"there is no column '{column}'", where=table.place(index), do=do)
            value = raw[column]
            if field == task.words:
                row[field] = _words(value, column, table.place(index))
                continue
            if field != target and not isinstance(value, str):
                do = "make it a string, or map the field to another column"
                kind = "nothing" if value is None else f"a {type(value).__name__}"
                raise DataError(f"the column '{column}' holds {kind}, not text", where=table.place(index), do=do)
            if isinstance(value, str):
                _check_text(value, column, table.place(index))
            row[field] = value if field != target else read(value, column, table.place(index))
        _check_spots(row, task, table.place(index))
        rows.append(row)
    return rows


def class_names(
    values: Sequence[str | int], source_names: Sequence[str] | None, wanted: Sequence[str] | None
) -> tuple[str, ...]:
    """The class names in a stable order: as `wanted` by the user, else as the source has them, else sorted.

    Numbers sort as numbers. `wanted` reorders the source's names, or gives new names in the source's order.
    """
    if wanted is not None:
        if len(set(wanted)) < len(wanted):
            raise DataError(
                f"a label is named twice: {', '.join(wanted)}", do="give each class one name in data.labels"
            )
        if source_names and set(wanted) != set(source_names):
            if len(wanted) != len(source_names) or set(wanted) & set(source_names):
                known = ", ".join(source_names)
                raise DataError(f"data.labels does not fit the source's classes: {known}", do="name the same classes")
        return tuple(wanted)
    if source_names:
        return tuple(source_names)
    distinct = {str(value) for value in values}
    try:
        return tuple(sorted(distinct, key=lambda name: (int(name), name)))
    except ValueError:
        return tuple(sorted(distinct))


def index_labels(
    table: Table,
    rows: list[Example],
    target: str,
    names: Sequence[str],
    source_names: Sequence[str] | None,
    numbered_too: bool = True,
) -> tuple[Example, ...]:
    """The rows with their target as a class index. A value is a class's name, else its number in the source's order.

    `numbered_too`: no number is meant where any text may be an answer, "3" among them.
    """
    places = {name: index for index, name in enumerate(names)}
    numbered = names if source_names is None or set(names) != set(source_names) else source_names
    if source_names is not None and numbered is names:  # new names for the source's classes: the old ones still count
        places |= {name: index for index, name in enumerate(source_names)}

    def place(value: str, where: str) -> int:
        if value not in places and numbered_too and value.isdecimal() and int(value) < len(numbered):
            value = numbered[int(value)]
        if value not in places:
            raise DataError(f"unknown label '{value}'", where=where, do=did_you_mean(value, names))
        return places[value]

    indexed = []
    for position, row in enumerate(rows):
        found = tuple(place(str(value), table.place(position)) for value in labels_in(row[target]))
        indexed.append({**row, target: found if isinstance(row[target], tuple) else found[0]})
    return tuple(indexed)


def labels_in(value: Any) -> tuple[Any, ...]:
    """The labels of one row: its class, or the tags of its words."""
    return value if isinstance(value, tuple) else (value,)


def check_tags(names: Sequence[str], source: str) -> None:
    """**Raises** `DataError` for tags of another scheme than BIO, of which no spans can be made."""
    for name in names:
        if name != "O" and name.partition("-")[0] not in ("B", "I"):
            do = "write O for words outside of spans, B-type for the first word of a span and I-type for the others"
            raise DataError(f"'{name}' is not a tag of the BIO scheme", where=source, do=do)


def check_classes(
    splits: Mapping[Split, Sequence[Example]], target: str, names: Sequence[str], source: str, tags: bool = False
) -> tuple[str, ...]:
    """Training rows of at least two classes, and no class that is met only outside of them. **Raises** `DataError`.

    A rare tag may be met outside alone: it is missed there, and that is told.
    """
    trained = {label for row in splits["train"] for label in labels_in(row[target])}
    if len(trained) < 2:
        only = names[next(iter(trained))]
        do = "add rows of another class, or raise the limit"
        raise DataError(f"all {len(splits['train'])} training rows have one class, '{only}'", where=source, do=do)
    notes = []
    for split, rows in splits.items():
        unseen = sorted({label for row in rows for label in labels_in(row[target])} - trained)
        if unseen:
            listed = ", ".join(f"'{names[i]}'" for i in unseen)
            if tags:
                notes.append(f"met only in {split}, never in training, and so never found: {listed}")
                continue
            do = "add training rows of that class, or correct the label"
            raise DataError(f"label met only in {split}, never in training: {listed}", where=source, do=do)
    return tuple(notes)


def _check_text(value: str, column: str, place: str) -> None:
    if not is_text(value):
        do = "write such a character as itself, or as both of its escapes"
        raise DataError(f"the column '{column}' holds half a character", where=place, do=do)


def _texts(value: Any, column: str, place: str) -> tuple[str, ...]:
    """The texts that would be right: one, or a list of several; SQuAD's own form has such a list in `text`."""
    value = value["text"] if isinstance(value, Mapping) and "text" in value else value
    given = list(value) if isinstance(value, list | tuple) else [value]
    if not given or not all(isinstance(one, str) and one.strip() for one in given):
        do = "give every row a text, or a list of texts that would all be right"
        raise DataError(f"the column '{column}' holds no text to be written but {value!r:.60}", where=place, do=do)
    for one in given:
        _check_text(one, column, place)
    return tuple(one.strip() for one in given)


def _words(value: Any, column: str, place: str) -> tuple[str, ...]:
    """The words of a sentence."""
    given = list(value) if isinstance(value, list | tuple) else []
    if not given or not all(isinstance(word, str) and word.strip() for word in given):
        do = 'give every row a list of words, such as ["Ada", "lives", "here"], none of them blank'
        raise DataError(f"the column '{column}' holds no words but {value!r:.60}", where=place, do=do)
    for word in given:
        _check_text(word, column, place)
    return tuple(given)


def _tags(value: Any, column: str, place: str) -> tuple[str | int, ...]:
    """The tags of a sentence's words, each a name or a number."""
    if not isinstance(value, list | tuple):
        do = 'give every row a list of tags, one a word, such as ["B-person", "O", "O"]'
        raise DataError(f"the column '{column}' holds no tags but {value!r:.60}", where=place, do=do)
    return tuple(_label(one, column, place) for one in value)


def _check_spots(row: Example, task: Task, place: str) -> None:
    """As many tags as words, or an answer that stands in its text."""
    if task.answer == "tags" and len(row[task.spot]) != len(row[task.target]):
        what = f"{len(row[task.spot])} words in {task.spot} and {len(row[task.target])} {task.target}"
        raise DataError(what, where=place, do="give every word one tag")
    if task.answer == "span" and not any(answer in row[task.spot] for answer in row[task.target]):
        do = f"give answers that are parts of the {task.spot}, or use a task whose answers are written"
        raise DataError(f"no answer stands in its {task.spot}: {row[task.target]!r:.60}", where=place, do=do)


def _label(value: Any, column: str, place: str) -> str | int:
    """A label as a string or a whole number, however the format spells it (true, 1.0)."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.strip():
        return value.strip()
    do = "give every row a class name or a whole number"
    raise DataError(f"the column '{column}' holds no class label but {value!r}", where=place, do=do)

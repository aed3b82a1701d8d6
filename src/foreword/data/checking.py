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
    fields = (*task.fields, task.target)
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


def select(table: Table, mapping: Mapping[str, str], target: str) -> list[Example]:
    """Rows of just the mapped fields, with checked texts and the target still as the source spells it."""
    rows = []
    for index, raw in enumerate(table.rows):
        row = {}
        for field, column in mapping.items():
            if column not in raw:
                known = did_you_mean(column, map(str, raw))
                do = f"{known}; map a field to a column with columns: {{{field}: NAME}}"
                raise DataError(f"there is no column '{column}'", where=table.place(index), do=do)
            value = raw[column]
            if field != target and not isinstance(value, str):
                do = "make it a string, or map the field to another column"
                kind = "nothing" if value is None else f"a {type(value).__name__}"
                raise DataError(f"the column '{column}' holds {kind}, not text", where=table.place(index), do=do)
            if isinstance(value, str) and not is_text(value):
                do = "write such a character as itself, or as both of its escapes"
                raise DataError(f"the column '{column}' holds half a character", where=table.place(index), do=do)
            row[field] = value if field != target else _label(value, column, table.place(index))
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
    table: Table, rows: list[Example], target: str, names: Sequence[str], source_names: Sequence[str] | None
) -> tuple[Example, ...]:
    """The rows with their target as a class index. A value is a class's name, else its number in the source's order."""
    places = {name: index for index, name in enumerate(names)}
    numbered = names if source_names is None or set(names) != set(source_names) else source_names
    if source_names is not None and numbered is names:  # new names for the source's classes: the old ones still count
        places |= {name: index for index, name in enumerate(source_names)}
    indexed = []
    for position, row in enumerate(rows):
        value = str(row[target])
        if value not in places and value.isdecimal() and int(value) < len(numbered):
            value = numbered[int(value)]
        if value not in places:
            raise DataError(f"unknown label '{value}'", where=table.place(position), do=did_you_mean(value, names))
        indexed.append({**row, target: places[value]})
    return tuple(indexed)


def check_classes(splits: Mapping[Split, Sequence[Example]], target: str, names: Sequence[str], source: str) -> None:
    """Training rows of at least two classes, and no class that is met only outside of them. **Raises** `DataError`."""
    trained = {row[target] for row in splits["train"]}
    if len(trained) < 2:
        only = names[next(iter(trained))]
        do = "add rows of another class, or raise the limit"
        raise DataError(f"all {len(splits['train'])} training rows have one class, '{only}'", where=source, do=do)
    for split, rows in splits.items():
        unseen = sorted({row[target] for row in rows} - trained)
        if unseen:
            listed = ", ".join(f"'{names[i]}'" for i in unseen)
            do = "add training rows of that class, or correct the label"
            raise DataError(f"label met only in {split}, never in training: {listed}", where=source, do=do)


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

"""The named sets `lama` and `lama:P36`: facts of all relations, or of one (Petroni et al. 2019).

A folder with splits whose rows have `relation` (a Wikidata property), `sub_label` and `obj_label`, and a file
`relations.jsonl` with each relation's `label` and `template` (`[X]` the subject, `[Y]` the object).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from foreword.data import files
from foreword.data.dataset import Split
from foreword.data.files import Table
from foreword.errors import DataError, did_you_mean


def read(folder: Path, relation: str) -> tuple[dict[Split, Table], tuple[str, ...]]:
    """The facts of one relation, or of all with an empty name; and what LAMA's own prompt for it is.

    In place of a relation's number its rows have its name. **Raises** `DataError` for an unknown relation.
    """
    tables = files.read_folder(folder)
    known = {str(row.get("relation")): row for row in files.read(folder / "relations.jsonl").rows}
    if relation and relation not in known:
        raise DataError(f"the set 'lama' has no relation '{relation}'", do=did_you_mean(relation, known))
    names = {number: str(row.get("label", number)) for number, row in known.items()}
    made = {split: part for split, table in tables.items() if (part := _part(table, relation, names)).rows}
    if "train" not in made:
        raise DataError(f"no fact of relation '{relation}' is in the training rows", where=str(folder))
    if not relation:
        return made, ()
    return made, (f"relation {relation} ({names[relation]}); LAMA's prompt: {known[relation].get('template', 'none')}",)


def _part(table: Table, relation: str, names: Mapping[str, str]) -> Table:
    kept = [i for i, row in enumerate(table.rows) if not relation or row.get("relation") == relation]
    rows = tuple({**table.rows[i], "relation": names.get(str(table.rows[i].get("relation")), "")} for i in kept)
    return Table(rows, tuple(table.lines[i] for i in kept), table.source)

"""Forewords to look into, on tiny backbones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foreword.artifacts import storage
from foreword.assembly import Assembly
from foreword.backbone.backbone import Backbone
from foreword.bank import Bank
from foreword.injections import Injection
from foreword.inspection import Subject
from foreword.use import Foreword
from support.forewords import ROWS, loud, make

TOKENS: dict[str, Any] = {
    "name": "combined",
    "parts": [{"name": "prompt-tuning", "num_virtual_tokens": 4}, {"name": "p-tuning-v2", "num_virtual_tokens": 3}],
}
"""Virtual tokens among the words, and in front of the layers."""


def subject(
    family: str,
    method: str | dict[str, Any],
    *,
    injection: Injection | None = None,
    backbone: Backbone | None = None,
    rows: Sequence[Mapping[str, Any]] = ROWS,
    name: str = "toy",
    **changes: Any,
) -> Subject:
    """A foreword as it begins, or with another injection, under a readout that tells rows apart."""
    assembly = loud(make(family, method, changes.pop("readout", None), backbone=backbone, **changes))
    return subject_of(assembly, injection, rows, name)


def subject_of(
    assembly: Assembly,
    injection: Injection | None = None,
    rows: Sequence[Mapping[str, Any]] = ROWS,
    name: str = "toy",
) -> Subject:
    """The assembly's foreword; its artifact is written nowhere."""
    assembly.readout.eval()
    bank = Bank(assembly.backbone)
    bank.put(name, injection or assembly.method.at_rest(), assembly.readout)
    manifest = storage.describe(assembly, name, {})
    return Subject(Foreword(name, bank, assembly.reader, manifest), tuple(dict(row) for row in rows))

"""What is examined: a foreword, the rows it is examined on, and variants of it with something taken away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from foreword import config as configs
from foreword import registry
from foreword.artifacts.starting import begin
from foreword.assembly import Example, assemble
from foreword.backbone.backbone import Backbone
from foreword.bank import Bank
from foreword.batch import Item
from foreword.config import RunConfig
from foreword.errors import ForewordError, Unsupported
from foreword.injections import Injection, KeyValues, SoftTokens
from foreword.readouts.base import Readout
from foreword.text.rows import Row
from foreword.use import Foreword


@dataclass(frozen=True)
class Subject:
    """A foreword and the rows it is examined on; `folder` is its artifact's, where it has one.

    **Raises** `Unsupported` for a foreword that adds nothing to the backbone.
    """

    foreword: Foreword
    rows: tuple[Example, ...] = ()
    folder: Path | None = None

    def __post_init__(self) -> None:
        if not self.injection.tensors():
            raise Unsupported(
                f"{self.method} adds nothing to {self.backbone.name}: there is no prompt to look into",
                do="its readout alone was trained; foreword evaluate says what it scores",
            )

    @property
    def method(self) -> str:
        """The method's registered name."""
        return str(self.foreword.manifest.method.get("name", "the method"))

    @property
    def backbone(self) -> Backbone:
        """The frozen model under it."""
        return self.foreword.bank.backbone

    @property
    def injection(self) -> Injection:
        """What it adds to the backbone, compiled: a prompt encoder is applied already."""
        return self.foreword.bank.entry(self.foreword.name).injection

    @property
    def readout(self) -> Readout:
        """What its answers are read by."""
        return self.foreword.reader.readout

    @property
    def length(self) -> int:
        """P, its virtual tokens: those among the words, and behind them those in front of the layers; may be 0."""
        return length_of(self.injection)

    @property
    def soft(self) -> int:
        """How many of them stand among the words."""
        return soft_of(self.injection)

    @cached_property
    def items(self) -> list[Item]:
        """The rows, encoded with its template."""
        return [self.foreword.reader.item(row, self.foreword.name) for row in self.rows]

    @cached_property
    def initial(self) -> Injection:
        """What it was before training, made again from the run's settings and seed.

        **Raises** `Unsupported` where the recorded run does not give an injection of the same shapes.
        """
        manifest = self.foreword.manifest
        if str(manifest.run.get("data", {}).get("source", "")).startswith("peft:"):
            raise Unsupported("what it was before training is not known: it was imported, and trained elsewhere")
        try:
            config = configs.build(RunConfig, manifest.run)
            task = registry.tasks.get(manifest.task)()
            assembly = assemble(config, self.backbone, task, manifest.labels, ())
            begin(assembly)
        except (ForewordError, OSError) as error:
            reason = error.what if isinstance(error, ForewordError) else str(error)
            raise Unsupported(f"what it was before training cannot be made again: {reason}") from None
        made = assembly.method.at_rest()
        kept = manifest.method.get("kept_tokens")
        made = made if kept is None else without_tokens(made, set(range(length_of(made))) - set(kept))
        shapes = [{n: t.shape for n, t in one.tensors().items()} for one in (made, self.injection)]
        if shapes[0] != shapes[1]:
            raise Unsupported(
                "what it was before training cannot be made again: the recorded run gives other shapes than the "
                "artifact holds"
            )
        return made

    def bank(self, injection: Injection | None = None) -> Bank:
        """A bank of this foreword alone, with another injection where one is given."""
        bank = Bank(self.backbone)
        bank.put(self.foreword.name, self.injection if injection is None else injection, self.readout)
        return bank


@dataclass(frozen=True)
class Variant:
    """A foreword with something taken away or exchanged.

    `tokens`: the virtual tokens among the words that its rows keep, None for all. `kind` is what was done: "token",
    "layer", "whole", "initial", "words".
    """

    name: str
    kind: str
    injection: Injection
    tokens: tuple[int, ...] | None = None

    def items(self, items: Sequence[Item]) -> list[Item]:
        """The subject's items as this variant reads them."""
        if self.tokens is None:
            return list(items)
        return [replace(item, rows=tuple(thinned(row, self.tokens) for row in item.rows)) for item in items]


def soft_of(injection: Injection) -> int:
    """How many virtual tokens stand among the words."""
    return 0 if injection.soft is None else len(injection.soft.vectors)


def length_of(injection: Injection) -> int:
    """P: soft tokens, numbered from 0, and key/values, numbered on from there."""
    return soft_of(injection) + max((table.length for table in tables_of(injection).values()), default=0)


def tables_of(injection: Injection) -> dict[str, KeyValues]:
    """Its key/values by the names they have there; an encoder-decoder has those of attention to the encoder too."""
    named = {"key_values": injection.key_values, "cross": injection.cross}
    return {name: table for name, table in named.items() if table is not None}


def thinned(row: Row, kept: Sequence[int]) -> Row:
    """The row with the virtual tokens `kept` alone, numbered anew: as its template with fewer of them gives it.

    The text behind a place that is gone moves to the front. An answer that was read at such a place is read at the one
    before it.
    """
    number = {old: new for new, old in enumerate(kept)}
    stays = [soft < 0 or soft in number for soft in row.soft]
    places = [place for place, kept_here in enumerate(stays) if kept_here]
    before = [count - 1 for count in accumulate(stays)]
    return replace(
        row,
        ids=tuple(row.ids[place] for place in places),
        soft=tuple(number.get(row.soft[place], -1) for place in places),
        types=tuple(row.types[place] for place in places),
        cls=None if row.cls is None else before[row.cls],
        answers=tuple(before[place] for place in row.answers),
        border=None if row.border is None else sum(place < row.border for place in places),
    )


def without_tokens(injection: Injection, dropped: set[int]) -> Injection:
    """The injection without some of its virtual tokens.

    Key/values keep the position offset: those that stay keep their distance to the text.
    """
    first = soft_of(injection)
    fewer: dict[str, Any] = {}
    if (soft := injection.soft) is not None:
        kept = [i for i in range(first) if i not in dropped]
        fewer["soft"] = SoftTokens(soft.vectors[kept]) if kept else None
    for name, table in tables_of(injection).items():
        kept = [i for i in range(table.length) if first + i not in dropped]
        fewer[name] = KeyValues(table.layers, table.tensor[:, :, :, kept]) if kept else None
    return replace(injection, **fewer)


def dropping_tokens(subject: Subject, dropped: set[int], name: str, kind: str = "token") -> Variant:
    """The variant without some virtual tokens."""
    tokens = None
    if subject.injection.soft is not None:
        tokens = tuple(i for i in range(subject.soft) if i not in dropped)
    return Variant(name, kind, without_tokens(subject.injection, dropped), tokens)


def without_prompt(subject: Subject) -> Variant:
    """The bare backbone under the same readout: no virtual tokens, no key/values, no operations, no weights."""
    tokens = () if subject.injection.soft is not None else None
    return Variant("the whole prompt", "whole", Injection(), tokens)

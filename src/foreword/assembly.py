"""From a run's settings to its parts: template, encoder, method, readout.

Training builds them to train them, an artifact to use them; both build them here, so that what is used is what was
trained.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foreword import registry
from foreword.backbone.backbone import Backbone
from foreword.batch import Item
from foreword.config import SHORTEST, ReadoutConfig, RunConfig, TemplateConfig
from foreword.errors import ConfigError, TemplateError, Unsupported
from foreword.methods.base import Method, MethodSetup
from foreword.readouts.base import Readout, ReadoutSetup
from foreword.tasks.base import Task
from foreword.text.encoder import Encoder
from foreword.text.shortening import cut_summary
from foreword.text.template import Field, Sep, Soft, Template

Example = Mapping[str, Any]
Demonstration = tuple[dict[str, str], str]
ANSWERS = {"class": "classes", "text": "texts", "tags": "tags", "span": "spans"}


@dataclass(frozen=True)
class Reader:
    """What turns examples into items and hidden states into scores: encoder, readout and labels."""

    task: Task
    labels: tuple[str, ...]
    encoder: Encoder
    readout: Readout

    def item(self, example: Example, owner: str | None = None) -> Item:
        """One example as rows; its label where it has one."""
        task = self.task
        fields = {name: example[name] for name in task.inputs if name in example}
        target, source = example.get(task.target), fields.get(task.spot, "")
        if target is None:
            return Item(self.readout.encode(self.encoder, fields), owner, source=source)
        rows, label = self.readout.labelled(self.encoder, fields, target)
        texts = () if task.answer == "class" else target
        right = tuple(self.labels[tag] for tag in texts) if task.answer == "tags" else tuple(texts)
        return Item(rows, owner, label, right, source)

    def cut(self, items: Sequence[Item]) -> str:
        """What was cut from these items to fit, in words."""
        if self.task.answer != "span":
            told = cut_summary([item.rows[0] for item in items], self.encoder).message
            short = sum(item.label is not None and self.readout.shortened(item.label) for item in items)
            return told + (f"; {short} answers are longer than their room, and lose their end" if short else "")
        long = sum(len(item.rows) > 1 for item in items)
        return f"{long or 'none'} of {len(items)} texts is longer than a row and read in windows; nothing is cut"


@dataclass(frozen=True)
class Assembly:
    """All parts of one run."""

    config: RunConfig
    backbone: Backbone
    method: Method
    reader: Reader

    @property
    def readout(self) -> Readout:
        """The reader's."""
        return self.reader.readout

    def trained(self) -> dict[str, Any]:
        """The parameters that are trained, by name: the method's, and the readout's where it has any."""
        named = {f"method.{name}": p for name, p in self.method.named_parameters()}
        if self.method.trains_readout:
            named |= {f"readout.{name}": p for name, p in self.readout.named_parameters()}
        return named

    def stored(self) -> int:
        """How many numbers an artifact of this run stores: the compiled injection and the readout."""
        return self.method.at_rest().size() + sum(p.numel() for p in self.readout.parameters())


def assemble(
    config: RunConfig, backbone: Backbone, task: Task, labels: Sequence[str], train: Sequence[Example]
) -> Assembly:
    """The parts of a run, with their first values. `train` is where a hard prompt's worked examples come from.

    **Raises** `ConfigError`, `TemplateError` or `Unsupported` for parts that do not go together.
    """
    method_class: type[Method] = registry.methods.get(config.method.name)
    if backbone.rounded and method_class.trains_readout:
        raise Unsupported(
            f"{backbone.name} is rounded to int8, and no gradient runs through it", do="train without int8"
        )
    readout_config = config.readout or default_readout(method_class, task)
    _check_answer(readout_config, task)
    text = answered(template_of(config.template, task), readout_config)
    template = method_class.place(config.method, text).resolve(backbone.tokenizer)
    if method_class.trains_readout is False and not uses_head(readout_config):
        raise Unsupported(
            f"{config.method.name} trains nothing, and a {readout_config.name} readout says nothing before it is "
            "trained",
            do=("use readout: verbalizer, or " if task.answer == "class" else "use ") + "method: linear-probe",
        )
    setup = MethodSetup(backbone, template, tuple(labels), uses_head(readout_config), config.seed)
    method = method_class(config.method, setup)
    shots = getattr(config.method, "shots", 0)
    shown = _worked_examples(train, shots, task, spoken_labels(readout_config, labels), config.seed) if shots else ()
    offset = method.at_rest().position_offset
    encoder = encoder_of(config.template, template, backbone, shown, offset)
    reader = reader_of(readout_config, backbone, task, labels, encoder, config.seed)
    assembly = Assembly(config.model_copy(update={"readout": readout_config}), backbone, method, reader)
    _check_used(assembly)
    _check_depth(assembly)
    _check_seen(assembly)
    if method_class.trains_readout and not assembly.trained():
        raise Unsupported(
            f"{config.method.name} with the {readout_config.name} readout has nothing to train",
            do="use method: hard" if uses_head(readout_config) else "use readout: linear",
        )
    return assembly


def _check_answer(readout: ReadoutConfig, task: Task) -> None:
    """**Raises** `ConfigError` for a readout that does not answer as the task asks."""
    fitting = [name for name in registry.readouts.names if registry.readouts.get(name).answer == task.answer]
    if readout.name not in fitting:
        raise ConfigError(
            f"the answers of the task {task.name} are {ANSWERS[task.answer]}, and the readout {readout.name} gives "
            f"{ANSWERS[registry.readouts.get(readout.name).answer]}",
            do=f"use readout: {' or '.join(fitting)}",
        )


def uses_head(readout: ReadoutConfig) -> bool:
    """Whether the readout reads through the language-model head."""
    return readout.name in ("verbalizer", "lm")


def _check_used(assembly: Assembly) -> None:
    """**Raises** `ConfigError` for a readout's rate that nothing would follow."""
    training, names = assembly.config.training, assembly.trained()
    if names and training.readout_learning_rate is not None and not any(name.startswith("readout.") for name in names):
        raise ConfigError(
            f"training.readout_learning_rate is given, and the {assembly.reader.readout.name} readout trains nothing",
            do="take it out",
        )


def _check_depth(assembly: Assembly) -> None:
    """**Raises** `ConfigError` where something would be trained above the layers that the readout runs."""
    stop, injection = assembly.readout.stop, assembly.method.at_rest()
    above = injection.highest_layer is not None and injection.highest_layer >= (stop or math.inf)
    if stop is not None and (above or injection.weights is not None):
        raise ConfigError(
            f"readout.layers runs {stop} layers, and {assembly.config.method.name} trains more than those",
            do="leave readout.layers out"
            + ("" if injection.weights else f", or set layers: {list(range(stop))} for what is trained above"),
        )


def _check_seen(assembly: Assembly) -> None:
    """**Raises** `Unsupported` for virtual tokens that stand behind all that a causal model is read at."""
    spot, backbone, parts = assembly.reader.task.spot, assembly.backbone, assembly.reader.encoder.template.parts
    if not spot or backbone.kind != "causal":
        return
    soft = [i for i, part in enumerate(parts) if isinstance(part, Soft)]
    last = max(i for i, part in enumerate(parts) if isinstance(part, Field) and part.name == spot)
    if soft and min(soft) > last:
        raise Unsupported(
            f"{backbone.name} reads from left to right, so virtual tokens behind '{spot}' are seen by none of the "
            "words or tokens that answers are read at",
            do="put the virtual tokens before it, or use a masked model",
        )


def default_readout(method: type[Method], task: Task) -> ReadoutConfig:
    """The only one for texts, tags and spans; for classes, label words where nothing is trained, else a linear layer.

    Classes that training need not have are told by their words.
    """
    worded = task.open_labels or not method.trains_readout
    name = {"text": "lm", "tags": "token", "span": "span", "class": "verbalizer" if worded else "linear"}[task.answer]
    return registry.readouts.get(name).Config()


def template_of(config: TemplateConfig, task: Task) -> Template:
    """The run's template, or the task's, checked against the task's fields."""
    template = Template.parse(task.default_template if config.text is None else config.text)
    template.check(task.inputs)
    if task.spot and task.spot not in template.fields:
        raise TemplateError(
            f"the template leaves out '{task.spot}', which the answers of {task.name} point into",
            where=str(template),
            do=f"put in {{{task.spot}}}",
        )
    return template


def answered(template: Template, readout: ReadoutConfig) -> Template:
    """The template with a `{mask}` at its end where an answer in words needs one and it has none."""
    if not uses_head(readout) or template.has_mask:
        return template
    return Template((*template.parts, *Template.parse("{mask}").parts))


def encoder_of(
    config: TemplateConfig,
    template: Template,
    backbone: Backbone,
    shown: Sequence[Demonstration] = (),
    position_offset: int = 0,
) -> Encoder:
    """The encoder; the text may fill what positions the injection leaves. Soft slots count as text here."""
    positions = backbone.geometry.positions - position_offset
    if positions < SHORTEST:
        raise ConfigError(
            f"{position_offset} virtual tokens leave {max(0, positions)} positions for the text, which needs "
            f"{SHORTEST}: {backbone.name} has {backbone.geometry.positions}",
            do="lower method.num_virtual_tokens",
        )
    longest = min(config.max_length or positions, positions)
    shorten = None if config.shorten is None else tuple(config.shorten)
    return Encoder(
        template,
        backbone.tokenizer,
        backbone.kind,
        longest,
        shorten,
        config.keep,
        config.chat,
        tuple(shown),
        backbone.decoder_start,
    )


def reader_of(
    config: ReadoutConfig, backbone: Backbone, task: Task, labels: Sequence[str], encoder: Encoder, seed: int
) -> Reader:
    """Readout and encoder together."""
    readout_class: type[Readout] = registry.readouts.get(config.name)
    segments = 1 + sum(isinstance(part, Sep) for part in encoder.template.parts)
    setup = ReadoutSetup(backbone, tuple(labels), encoder.answer_prefix, segments, seed, task.spot)
    return Reader(task, tuple(labels), encoder, readout_class(config, setup))


def spoken_labels(config: ReadoutConfig, labels: Sequence[str]) -> dict[str, str]:
    """The word that stands for each label in a worked example: its first label word, or its name."""
    words: Mapping[str, str | list[str]] = getattr(config, "words", None) or {}
    first = {label: word if isinstance(word, str) else word[0] for label, word in words.items() if word}
    return {label: first.get(label, label.replace("_", " ")) for label in labels}


def _worked_examples(
    train: Sequence[Example], shots: int, task: Task, spoken: Mapping[str, str], seed: int
) -> tuple[Demonstration, ...]:
    if task.answer == "class":
        return demonstrations(train, shots, task, spoken, seed)
    if shots > len(train):
        raise ConfigError(f"{shots} worked examples were asked for, and there are {len(train)} training rows")
    chosen = random.Random(seed).sample(range(len(train)), shots)
    return tuple((_shown(train[i], task), train[i][task.target][0]) for i in chosen)


def _shown(example: Example, task: Task) -> dict[str, str]:
    return {name: str(example[name]) for name in task.inputs if name in example}


def demonstrations(
    train: Sequence[Example], shots: int, task: Task, spoken: Mapping[str, str], seed: int
) -> tuple[Demonstration, ...]:
    """k worked examples, labels in turn, drawn by seed. **Raises** `ConfigError` where there are fewer rows."""
    if shots > len(train):
        raise ConfigError(f"{shots} worked examples were asked for, and there are {len(train)} training rows")
    order = random.Random(seed).sample(range(len(train)), len(train))
    by_label: dict[int, list[int]] = {}
    for index in order:
        by_label.setdefault(int(train[index][task.target]), []).append(index)
    names, turn = list(spoken), sorted(by_label)
    chosen: list[int] = []
    while len(chosen) < shots:
        label = turn[len(chosen) % len(turn)]
        if by_label[label]:
            chosen.append(by_label[label].pop(0))
        else:
            turn.remove(label)
    return tuple((_shown(train[i], task), spoken[names[int(train[i][task.target])]]) for i in chosen)

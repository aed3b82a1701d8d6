"""The run as typed data: YAML in, the resolved run out.

Unknown fields are errors, and the resolved run that is saved with every artifact describes what was done. The settings
of a method or a readout live in that method's or readout's own file and are found by name through the registry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from foreword import registry
from foreword.errors import ConfigError, did_you_mean

S = TypeVar("S", bound="Settings")


SHORTEST = 4
"""Tokens that a text must have room for, special ones among them."""


class Settings(BaseModel):
    """Immutable settings in which an unknown or mistyped field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """`true` is no number, though Python counts it as 1."""
        assert info.field_name is not None
        if isinstance(value, bool) and not takes_bool(cls.model_fields[info.field_name].annotation):
            raise ValueError(f"{str(value).lower()} is no value for it")
        return value


def takes_bool(annotation: Any) -> bool:
    """Whether a field of this type may be true or false."""
    own = annotation in (bool, Any) or isinstance(annotation, bool)
    return own or any(takes_bool(part) for part in get_args(annotation))


class MethodConfig(Settings):
    """What every method's settings share: its registered name."""

    name: str


class ReadoutConfig(Settings):
    """What every readout's settings share: its registered name."""

    name: str


class SplitConfig(Settings):
    """A seeded, stratified split, for a source that has no splits of its own."""

    validation: float = Field(0.1, ge=0, lt=1)
    test: float = Field(0.2, ge=0, lt=1)
    seed: int = 0
    stratify: bool = True


class DataConfig(Settings):
    """Where the examples come from.

    `source` is a named set, a file or folder, or a hub name. `columns` maps the task's field names to the source's
    column names. `limit` keeps the first rows of a split after a seeded shuffle, for quick trials.
    """

    source: str
    columns: dict[str, str] = {}
    labels: list[str] | None = None
    split: SplitConfig = SplitConfig()
    limit: dict[Literal["train", "validation", "test"], int] = {}
    limit_seed: int = 0

    @model_validator(mode="after")
    def _limit_seed_is_used(self) -> Self:
        if self.limit_seed and not self.limit:
            raise ConfigError("data.limit_seed draws the rows of data.limit, and there is none", do="take it out")
        return self


class TemplateConfig(Settings):
    """How an example becomes text. The syntax is described in `foreword.text.template`.

    `shorten` names the fields that may lose tokens when the text is longer than `max_length` (default: the longest
    field first); `keep` says which end of a shortened field stays. `chat` wraps the text in the model's chat template.
    """

    text: str | None = None
    max_length: int | None = Field(None, ge=SHORTEST)
    shorten: list[str] | None = None
    keep: Literal["start", "end"] = "start"
    chat: bool = False


class TrainingConfig(Settings):
    """The one loop's settings.

    `batch_size` rows make one optimiser step; `max_tokens` bounds the padded tokens (rows times length) of one forward
    pass, and a step that is larger is run in pieces whose gradients add up to the same step.
    """

    optimizer: Literal["adamw", "adafactor"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0, le=1e30)
    readout_learning_rate: float | None = Field(None, gt=0, le=1e30)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup: float = Field(0.0, ge=0, lt=1, description="share of all steps")
    max_grad_norm: float | None = Field(1.0, gt=0)
    epochs: float = Field(10, gt=0, le=1e9)
    max_steps: int | None = Field(None, ge=1)
    batch_size: int = Field(16, ge=1)
    max_tokens: int = Field(16384, ge=16)
    evaluate_every: int | None = Field(None, ge=1, description="steps; default: once an epoch")
    metric: str | None = Field(None, description="what the best step is chosen by; default: the task's own")
    patience: int | None = Field(None, ge=1, description="evaluations without improvement before stopping")
    cache: Literal["float32", "float16", "off"] = Field(
        "float32", description="what the frozen layers give is computed once and kept; float16 loses a little"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the layers' matrix products in steps; scores are in float32 always"
    )
    compile: bool = Field(False, description="norms and feed-forwards through torch.compile; no gain on the CPU tried")
    swap_pairs: bool = Field(False, description="a pair's two texts change places in every other epoch")
    checkpoint_every: int | None = Field(None, ge=1, description="steps; default: at every evaluation")

    @field_validator("cache", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        """YAML 1.1 reads `off` as false."""
        return "off" if value is False else value


class GenerationOptions(Settings):
    """How text is generated; names and meanings are those of transformers.

    Greedy search by default, sampling with `do_sample`, beam search with `num_beams` above 1.

    `temperature`, `top_k` and `top_p` shape the distribution that is sampled from, in this order. `length_penalty`: a
    beam's score is its log-probability divided by its length to this power. `eos_token_ids` end a row (default: the
    tokenizer's; none with an empty tuple). `stop_strings` end a row too, and are cut off its text. `seed`: with the
    same seed a row gets the same samples in any batch.

    **Raises** `ConfigError` for settings that would have no effect, or that exclude each other.
    """

    max_new_tokens: int = Field(default=64, ge=1)
    num_return_sequences: int = Field(default=1, ge=1)
    num_beams: int = Field(default=1, ge=1)
    length_penalty: float = 1.0
    do_sample: bool = False
    temperature: float | None = Field(default=None, gt=0)
    top_k: int | None = Field(default=None, ge=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int = Field(default=0, ge=0)
    eos_token_ids: tuple[int, ...] | None = None
    stop_strings: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        shaping = [name for name in ("temperature", "top_k", "top_p") if getattr(self, name) is not None]
        if self.do_sample and self.num_beams > 1:
            raise ConfigError(
                f"do_sample with num_beams={self.num_beams}: sampling and beam search exclude each other",
                do="leave out one of them",
            )
        if shaping and not self.do_sample:
            raise ConfigError(f"{shaping[0]} has no effect without sampling", do=f"set do_sample, or drop {shaping[0]}")
        if self.length_penalty != 1.0 and self.num_beams == 1:
            raise ConfigError("length_penalty has no effect without beam search", do="set num_beams above 1")
        if self.num_beams > 1 and self.num_return_sequences > self.num_beams:
            raise ConfigError(
                f"num_return_sequences={self.num_return_sequences} of num_beams={self.num_beams}",
                do="use at least as many beams as sequences",
            )
        if self.num_beams == 1 and not self.do_sample and self.num_return_sequences > 1:
            raise ConfigError(
                f"greedy search finds one sequence, not num_return_sequences={self.num_return_sequences}",
                do="set do_sample or num_beams",
            )
        if "" in self.stop_strings:
            raise ConfigError("an empty stop string would end every row at once", do="leave it out")
        return self


class InitConfig(Settings):
    """A foreword to begin with, in the place of the method's own first values: an `artifact`'s folder.

    `readout`: begin with its readout as well, where the labels are the same. `sha256`: of its weights; a run writes it
    down, and an artifact of other weights is refused where it is given.
    """

    artifact: str
    readout: bool = False
    sha256: str | None = None


class RunConfig(Settings):
    """One run: data, backbone, template, method, readout, training and seed; `init_from` carries a foreword over."""

    data: DataConfig
    backbone: str
    task: str | None = None
    template: TemplateConfig = TemplateConfig()
    method: SerializeAsAny[MethodConfig]
    readout: SerializeAsAny[ReadoutConfig] | None = None
    training: TrainingConfig = TrainingConfig()
    init_from: InitConfig | None = None
    seed: int = Field(0, ge=0, lt=2**63)
    threads: int | None = Field(None, ge=1, le=4096)
    output: str | None = None

    @field_validator("data", mode="before")
    @classmethod
    def _data(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @field_validator("init_from", mode="before")
    @classmethod
    def _init_from(cls, value: Any) -> Any:
        return {"artifact": value} if isinstance(value, str) else value

    @field_validator("template", mode="before")
    @classmethod
    def _template(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value

    @field_validator("method", mode="before")
    @classmethod
    def _method(cls, value: Any) -> Any:
        return named(registry.methods, value, MethodConfig)

    @field_validator("readout", mode="before")
    @classmethod
    def _readout(cls, value: Any) -> Any:
        return None if value is None else named(registry.readouts, value, ReadoutConfig)

    @model_validator(mode="after")
    def _task_is_known(self) -> Self:
        if self.task is not None and self.task not in registry.tasks.names:
            raise ConfigError(f"unknown task '{self.task}'", do=did_you_mean(self.task, registry.tasks.names))
        return self


def named(known: registry.Registry[Any], value: Any, base: type[S]) -> S:
    """Settings of the registered class that `value` names: a name, a mapping with a `name`, or settings already."""
    if isinstance(value, base):
        return value
    fields: Mapping[str, Any] = {"name": value} if isinstance(value, str) else value
    if not isinstance(fields, Mapping) or "name" not in fields:
        raise ConfigError(f"a {known.kind} needs a name", do=f"known: {', '.join(known.names)}")
    config: type[S] = known.get(str(fields["name"])).Config
    return build(config, fields, f"{known.kind} {fields['name']}")


def build(cls: type[S], values: Mapping[str, Any], where: str | None = None) -> S:
    """`cls` from plain values. **Raises** `ConfigError` that names every wrong field, and why."""
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        lines = []
        for item in error.errors():
            path = ".".join(str(p) for p in item["loc"])
            hint = ""
            if item["type"] == "extra_forbidden" and len(item["loc"]) == 1:
                hint = f" ({did_you_mean(path, cls.model_fields)})"
            lines.append(f"{path}: {item['msg']}{hint}")
        raise ConfigError(f"{cls.__name__}: " + "; ".join(lines), where=where) from None


def load(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """A run from a YAML file, with overrides such as `"training.learning_rate=0.01"`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"no such recipe: {path}", do="give a YAML file, such as one in recipes/") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the recipe: {error}", where=str(path)) from None
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that no calendar has
        raise ConfigError(f"not valid YAML: {error}", where=str(path)) from None
    if not isinstance(values, dict):
        raise ConfigError("a recipe is a mapping of fields to values", where=str(path))
    for item in overrides:
        _override(values, item)
    return build(RunConfig, values, where=str(path))


def dump(config: Settings) -> str:
    """The resolved settings as YAML that `load` reads back to an equal object."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _override(values: dict[str, Any], item: str) -> None:
    path, equals, raw = item.partition("=")
    if not equals or not path:
        raise ConfigError(f"an override is written field.name=value, not '{item}'")
    *parents, last = path.split(".")
    target = values
    for name in parents:
        child = target.get(name)
        if isinstance(child, str) and name in ("data", "template", "method", "readout", "init_from"):
            child = {{"data": "source", "template": "text", "init_from": "artifact"}.get(name, "name"): child}
        if child is not None and not isinstance(child, dict):
            raise ConfigError(f"'{name}' in the override '{item}' is not a group of fields")
        group: dict[str, Any] = {} if child is None else child
        target[name] = group
        target = group
    try:
        target[last] = yaml.safe_load(raw)
    except (yaml.YAMLError, ValueError) as error:
        reason = getattr(error, "problem", None) or error
        do = f"quote the value for YAML as well: '{path}=\"...\"'"
        raise ConfigError(f"the value of the override '{item}' is not valid YAML: {reason}", do=do) from None

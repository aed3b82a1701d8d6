"""Prompt tuning (Lester et al. 2021): P free vectors among the word embeddings."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator
from torch import nn

from foreword.config import MethodConfig
from foreword.errors import ConfigError
from foreword.injections import Injection, SoftTokens
from foreword.methods._initial import Init, initial_vectors
from foreword.methods.base import MOST, Method, MethodSetup
from foreword.text.template import Template

Placement = Literal["front", "after", "both"]


class SoftConfig(MethodConfig):
    """What the methods with virtual tokens share.

    `num_virtual_tokens`: P, for a template without soft slots; a template with slots decides P itself. `placement`: in
    front of everything, after the last field, or half of them here and half there. In a causal model, a text in front
    of all virtual tokens is run once for the whole data set. `init`: where the vectors start; `init_text` for
    `init: text`.
    """

    num_virtual_tokens: int | None = Field(None, ge=1, le=MOST)
    placement: Placement = "front"
    init: Init = "vocabulary"
    init_text: str | None = None

    @model_validator(mode="after")
    def _text_is_used(self) -> Self:
        if self.init_text and self.init != "text":
            raise ConfigError("init_text is given, and init does not ask for it", do="set init: text")
        return self


def place_soft_tokens(config: SoftConfig, template: Template, default: int = 20) -> Template:
    """The template with its soft slots, put in front where it has none."""
    if not template.has_soft:
        count = config.num_virtual_tokens or default
        if config.placement == "both" and count < 2:
            raise ConfigError("placement: both needs two virtual tokens", do="raise num_virtual_tokens")
        after = {"front": 0, "after": count, "both": count // 2}[config.placement]
        behind = template.behind_fields(after) if after else template
        return behind.in_front(count - after) if count > after else behind
    if config.placement != "front":
        raise ConfigError(
            f"placement says {config.placement}, and the template has soft slots of its own",
            where=str(template),
            do="take the slots out of the template, or leave placement out",
        )
    given = config.num_virtual_tokens
    if given is not None and not (template.is_resolved and template.soft_count == given):
        raise ConfigError(
            f"num_virtual_tokens says {given}, and the soft slots of the template decide their own number",
            where=str(template),
            do="leave num_virtual_tokens out where the template has soft slots",
        )
    return template


class PromptTuning(Method):
    """Parameters `[P, E]`, compiled as they are."""

    name: ClassVar[str] = "prompt-tuning"

    class Config(SoftConfig):
        """See `SoftConfig`."""

        name: Literal["prompt-tuning"] = "prompt-tuning"

    def __init__(self, config: Config, setup: MethodSetup) -> None:
        super().__init__(config, setup)
        self.vectors = nn.Parameter(initial_vectors(config.init, config.init_text, setup))

    @classmethod
    def place(cls, config: MethodConfig, template: Template) -> Template:
        assert isinstance(config, SoftConfig)
        return place_soft_tokens(config, template)

    def compiled(self) -> Injection:
        return Injection(soft=SoftTokens(self.vectors))

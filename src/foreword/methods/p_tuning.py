"""P-Tuning, version 1 (Liu et al. 2021, "GPT Understands, Too"): virtual tokens anywhere, made by a prompt encoder."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from foreword.config import MethodConfig
from foreword.errors import ConfigError
from foreword.injections import Injection, SoftTokens
from foreword.methods._initial import initial_vectors
from foreword.methods.base import MOST, Method, MethodSetup
from foreword.methods.prompt_tuning import SoftConfig, place_soft_tokens
from foreword.text.template import Template


class PTuning(Method):
    """Virtual token i is `f(e)_i`: e `[P, E]` trained embeddings, f a trained MLP or LSTM over all P of them.

    With `residual`, it is `e_i + f(e)_i / h`, h being the width in front of f's last layer and f starting at zero: the
    prompt starts at its initial words, and a step moves f's share as far as it moves e (the output multiplier of Yang
    et al. 2021, table 3), where an undivided f would move all tokens together and drown e. Only the compiled
    `[P, E]` is needed after training.
    """

    name: ClassVar[str] = "p-tuning"

    class Config(SoftConfig):
        """PEFT's names. `encoder_num_layers` and `encoder_dropout` are the LSTM's."""

        name: Literal["p-tuning"] = "p-tuning"
        encoder_reparameterization_type: Literal["mlp", "lstm"] = "mlp"
        encoder_hidden_size: int | None = Field(None, ge=2, le=MOST, description="default: E")
        encoder_num_layers: int = Field(2, ge=1, le=64)
        encoder_dropout: float = Field(0.0, ge=0, lt=1)
        residual: bool = False

        @model_validator(mode="after")
        def _encoder_is_used(self) -> Self:
            lstm = self.encoder_reparameterization_type == "lstm"
            if not lstm and (self.encoder_num_layers, self.encoder_dropout) != (2, 0.0):
                raise ConfigError(
                    "encoder_num_layers and encoder_dropout are the LSTM's, and the encoder is an MLP",
                    do="set encoder_reparameterization_type: lstm, or take them out",
                )
            if lstm and self.encoder_dropout and self.encoder_num_layers == 1:
                raise ConfigError(
                    "encoder_dropout acts between the LSTM's layers, and there is one", do="set encoder_num_layers: 2"
                )
            return self

    def __init__(self, config: Config, setup: MethodSetup) -> None:
        super().__init__(config, setup)
        width = setup.backbone.geometry.embedding
        self.residual = config.residual
        self.embedding = nn.Parameter(initial_vectors(config.init, config.init_text, setup))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(setup.seed)
            self.encoder = _encoder(config, width)
        if config.residual:
            last = self.encoder.last
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    @classmethod
    def place(cls, config: MethodConfig, template: Template) -> Template:
        assert isinstance(config, SoftConfig)
        return place_soft_tokens(config, template)

    def compiled(self) -> Injection:
        made = self.encoder(self.embedding)
        if self.residual:
            made = self.embedding + made / self.encoder.last.in_features
        return Injection(soft=SoftTokens(made))


def _encoder(config: PTuning.Config, width: int) -> MLP | LSTM:
    hidden = config.encoder_hidden_size or width
    if config.encoder_reparameterization_type == "mlp":
        return MLP(width, hidden)
    return LSTM(width, hidden, config.encoder_num_layers, config.encoder_dropout)


class MLP(nn.Module):
    """Three linear layers with ReLU between them, each token by itself: `[P, E]` to `[P, E]`."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.last = nn.Linear(hidden, width)

    def forward(self, embedded: Tensor) -> Tensor:
        return self.last(self.body(embedded))


class LSTM(nn.Module):
    """A bidirectional LSTM over the P tokens, then two linear layers with ReLU: `[P, E]` to `[P, E]` (eq. 4)."""

    def __init__(self, width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        each_way = max(hidden // 2, 1)
        self.lstm = nn.LSTM(
            width, each_way, layers, bidirectional=True, batch_first=True, dropout=dropout if layers > 1 else 0.0
        )
        self.body = nn.Sequential(nn.Linear(2 * each_way, hidden), nn.ReLU())
        self.last = nn.Linear(hidden, width)

    def forward(self, embedded: Tensor) -> Tensor:
        run, _ = self.lstm(embedded[None])
        return self.last(self.body(run[0]))

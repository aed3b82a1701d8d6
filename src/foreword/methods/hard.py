"""A hard prompt: words alone, zero-shot or with k worked examples in front. Nothing is trained."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from foreword.config import MethodConfig
from foreword.injections import Injection
from foreword.methods.base import Method


class Hard(Method):
    """The empty injection. The worked examples are the encoder's business: see `foreword.text.encoder`."""

    name: ClassVar[str] = "hard"
    trains_readout: ClassVar[bool] = False

    class Config(MethodConfig):
        """`shots`: worked examples, drawn from the training rows by the run's seed, labels in turn."""

        name: Literal["hard"] = "hard"
        shots: int = Field(0, ge=0)

    def compiled(self) -> Injection:
        return Injection()

"""A linear probe: the bare backbone and a trained readout, the baseline that says what the frozen features hold."""

from __future__ import annotations

from typing import ClassVar, Literal

from foreword.config import MethodConfig
from foreword.injections import Injection
from foreword.methods.base import Method


class LinearProbe(Method):
    """The empty injection; only the readout learns (Alain and Bengio 2017)."""

    name: ClassVar[str] = "linear-probe"

    class Config(MethodConfig):
        """No settings of its own."""

        name: Literal["linear-probe"] = "linear-probe"

    def compiled(self) -> Injection:
        return Injection()

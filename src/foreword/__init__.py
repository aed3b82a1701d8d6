"""foreword: teach a frozen language model a task with a few learned vectors.

The names below are loaded when they are first used, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from foreword.errors import ForewordError as ForewordError

if TYPE_CHECKING:
    from foreword.api import Result as Result
    from foreword.api import prepare as prepare
    from foreword.api import train as train
    from foreword.api import train_together as train_together
    from foreword.backbone.backbone import Backbone as Backbone
    from foreword.backbone.loading import load as load_backbone
    from foreword.bank import Bank as Bank
    from foreword.config import RunConfig as RunConfig
    from foreword.config import load as load_config
    from foreword.use import Foreword as Foreword
    from foreword.use import Prediction as Prediction
    from foreword.use import load as load

_LAZY = {
    "Backbone": "foreword.backbone.backbone:Backbone",
    "Bank": "foreword.bank:Bank",
    "Foreword": "foreword.use:Foreword",
    "Prediction": "foreword.use:Prediction",
    "Result": "foreword.api:Result",
    "RunConfig": "foreword.config:RunConfig",
    "load": "foreword.use:load",
    "load_backbone": "foreword.backbone.loading:load",
    "load_config": "foreword.config:load",
    "prepare": "foreword.api:prepare",
    "train": "foreword.api:train",
    "train_together": "foreword.api:train_together",
}
__all__ = ["Backbone", "Bank", "Foreword", "ForewordError", "Prediction", "Result", "RunConfig", "load"]
__all__ += ["load_backbone", "load_config", "prepare", "train", "train_together"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'foreword' has no attribute '{name}'")
    module, _, member = _LAZY[name].partition(":")
    return getattr(importlib.import_module(module), member)

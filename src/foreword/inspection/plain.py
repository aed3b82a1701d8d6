"""What was found as plain data, for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from foreword.inspection.subject import Variant

DIGITS = 6


def plain(value: Any) -> Any:
    """Dataclasses as mappings, tensors as lists, floats to `DIGITS` significant digits; variants are left out."""
    if isinstance(value, Variant):
        return value.name
    if is_dataclass(value) and not isinstance(value, type):
        return {part.name: plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Tensor):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value

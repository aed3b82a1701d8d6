"""All measures of variety, in the order in which they are shown."""

from __future__ import annotations

from foreword.errors import ConfigError, did_you_mean
from foreword.stories.diversity import likeness, overlap, surface
from foreword.stories.diversity.base import Measure
from foreword.stories.diversity.corpus import Sample

MEASURES: tuple[Measure, ...] = (*likeness.MEASURES, *overlap.MEASURES, *surface.MEASURES)


def for_sample(sample: Sample) -> tuple[Measure, ...]:
    """Those that can be had of a sample: without a model, there are none by meaning."""
    return tuple(one for one in MEASURES if not one.needs or one.needs in sample.kernels)


def get(name: str) -> Measure:
    """The measure called `name`. **Raises** `ConfigError`."""
    for one in MEASURES:
        if one.name == name:
            return one
    raise ConfigError(f"unknown measure '{name}'", do=did_you_mean(name, [one.name for one in MEASURES]))

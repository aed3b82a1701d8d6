"""Every name that is offered is a class."""

from __future__ import annotations

import pytest

from foreword.registry import Registry, methods, readouts, tasks


@pytest.mark.parametrize("registry", [methods, readouts, tasks], ids=lambda registry: registry.kind)
def test_every_name_gives_its_class(registry: Registry) -> None:
    assert registry.names
    for name in registry.names:
        assert registry.get(name).name == name

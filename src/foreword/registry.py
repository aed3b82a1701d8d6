"""One registry for everything that is found by name: one file a name, imported when it is asked for.

The file `methods/p_tuning_v2.py` is the method `p-tuning-v2`. Adding a method, a readout or a task is adding a file.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from functools import cached_property
from typing import Generic, TypeVar, cast

from foreword.errors import ConfigError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to classes, one module a name, in one package.

    **Arguments:** `package` such as `"foreword.methods"`; `kind` is the word used in messages, such as `"method"`.
    Modules whose name begins with an underscore, and `base`, hold shared code and are not names.
    """

    def __init__(self, package: str, kind: str) -> None:
        self.package, self.kind = package, kind

    @cached_property
    def _modules(self) -> dict[str, str]:
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.submodule_search_locations is None:
            raise RuntimeError(f"{self.package} is not a package")
        found = (m.name for m in pkgutil.iter_modules(spec.submodule_search_locations))
        return {n.replace("_", "-"): n for n in sorted(found) if not n.startswith("_") and n != "base"}

    @property
    def names(self) -> tuple[str, ...]:
        """All known names, without importing any of them."""
        return tuple(self._modules)

    def get(self, name: str) -> type[T]:
        """The class called `name`. **Raises** `ConfigError` with the nearest known name."""
        if name not in self._modules:
            raise ConfigError(f"unknown {self.kind} '{name}'", do=did_you_mean(name, self.names))
        module = importlib.import_module(f"{self.package}.{self._modules[name]}")
        for member in vars(module).values():
            if inspect.isclass(member) and member.__module__ == module.__name__ and getattr(member, "name", "") == name:
                return cast("type[T]", member)
        raise RuntimeError(f"{module.__name__} defines no class with name = {name!r}")


methods: Registry = Registry("foreword.methods", "method")
readouts: Registry = Registry("foreword.readouts", "readout")
tasks: Registry = Registry("foreword.tasks", "task")

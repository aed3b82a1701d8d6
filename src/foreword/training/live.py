"""How many bytes of tensors live while something is computed: what a run holds, counted and not guessed."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Live(TorchDispatchMode):
    """Inside, every tensor that an operator takes or gives is counted for as long as its memory lives.

    `peak`: the most bytes that lived at once. Those of `known`, such as a model's parameters, do not count; nor does
    what a kernel takes for itself while it works.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: dict[int, weakref.ref[UntypedStorage]] = {}
        self._known = [tensor.untyped_storage() for tensor in known]  # held, so that their numbers stay theirs
        self._own = {storage._cdata for storage in self._known}

    def forget(self, tensor: Tensor) -> None:
        """Do not count this one any longer."""
        storage = tensor.untyped_storage()
        self._known.append(storage)
        self._own.add(storage._cdata)
        if self._seen.pop(storage._cdata, None) is not None:
            self.now -= storage.nbytes()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = func(*args, **(kwargs or {}))
        for value in (*tree_leaves((args, kwargs)), *tree_leaves(given)):
            if isinstance(value, Tensor):
                self._hold(value.untyped_storage())
        return given

    def _hold(self, storage: UntypedStorage) -> None:
        number, size = storage._cdata, storage.nbytes()
        if number in self._own or number in self._seen:
            return

        def drop(_: Any) -> None:
            if self._seen.pop(number, None) is not None:
                self.now -= size

        self._seen[number] = weakref.ref(storage, drop)
        self.now += size
        self.peak = max(self.peak, self.now)

"""Norms and feed-forwards through `torch.compile` for as long as a run trains: the element-wise work of each in one go.

Attention stays as it is, since key/values enter there, and so do layers with operations inside, whose modules are
twins made for the pass. What is compiled is the backbone's own, so it is put back when the run ends.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from foreword.assembly import Assembly
from foreword.backbone.anatomy import ATTENTION, Organ
from foreword.backbone.backbone import Backbone
from foreword.errors import ForewordError, Unsupported

OF_THE_COMPILER = (r"The \.grad attribute of a Tensor that is not a leaf", r"`torch\.jit\.script_method` is deprecated")
"""Warnings that torch's compiler sets off in torch, and that no user can do anything about."""


@contextmanager
def compiled(backbone: Backbone | None) -> Iterator[int]:
    """The backbone's norms and self-standing feed-forwards compiled in the block, for any length; how many they are.

    Nothing is where there is no backbone.

    **Raises** `ForewordError` where there is no C++ compiler, which `torch.compile` needs on a CPU; `Unsupported` for a
    backbone whose layers' parts could not be seen.
    """
    if backbone is None:
        yield 0
        return
    with warnings.catch_warnings():
        for text in OF_THE_COMPILER:
            warnings.filterwarnings("ignore", message=text)
        need_compiler(backbone.device.type)
        found = [
            layer.get_submodule(path)
            for layer, organs in zip(backbone.layers, backbone.anatomy.layers, strict=True)
            for path in parts(organs)
        ]
        try:
            for module in found:
                module.compile(dynamic=True)
            yield len(found)
        finally:
            for module in found:
                module._compiled_call_impl = None


def parts(organs: tuple[Organ, ...]) -> list[str]:
    """Paths in a layer of what is compiled: the module that holds the feed-forward and no attention, and the norms."""
    forward = [organ.path.split(".") for organ in organs if organ.role.startswith("feed-forward")]
    holder = os.path.commonprefix(forward)
    own = ".".join(holder)
    alone = bool(own) and not any(f"{organ.path}.".startswith(f"{own}.") for organ in organs if organ.role in ATTENTION)
    norms = [organ.path for organ in organs if organ.role == "norm"]
    return [own, *(path for path in norms if not f"{path}.".startswith(f"{own}."))] if alone else norms


def check_compiling(assembly: Assembly) -> None:
    """**Raises** `Unsupported` where `training.compile` cannot be had: for operations inside the layers."""
    need_compiler(assembly.backbone.device.type)
    if assembly.method.at_rest().sites is not None:
        raise Unsupported(
            f"training.compile: {assembly.config.method.name} works inside the layers' modules, which are then not "
            "those that are compiled",
            do="leave out training.compile",
        )


def need_compiler(device: str = "cpu") -> None:
    """**Raises** `ForewordError` where `torch.compile` would find no C++ compiler."""
    if device != "cpu":
        return
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, RuntimeError) as error:
        raise ForewordError(
            f"training.compile needs a C++ compiler, and there is none: {str(error).splitlines()[0]}",
            do="install g++, or leave out training.compile",
        ) from None

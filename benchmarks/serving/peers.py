"""The peers of the serving cases: PEFT switching adapters, transformers' own batches and continuous batching."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from benchmarks.common import REQUESTS, named_model, prefix_table
from benchmarks.peer_models import padded
from benchmarks.serving.classify import head, owners, texts
from benchmarks.side import Settings, Side, Skip


def each(settings: Settings) -> Side:
    """PEFT: `set_adapter` and a pass for every request of a window."""
    return Switching(settings, grouped=False)


def grouped(settings: Settings) -> Side:
    """PEFT at its best: `set_adapter` and a pass for every adapter of a window, its requests in one batch."""
    return Switching(settings, grouped=True)


class Switching(Side):
    """One process, one `PeftModel` with all adapters: prefix tuning, which is what P-Tuning v2 is called there.

    The trunk alone is wrapped, without a pooler, and [CLS] is read by hand, so that nothing is computed or switched
    that is not needed; adapters are in inference mode, which spares PEFT its own embedding.
    """

    def __init__(self, settings: Settings, grouped: bool) -> None:
        from peft import PrefixTuningConfig, TaskType, get_peft_model
        from transformers import AutoModel, AutoTokenizer

        folder = named_model(settings["model"])
        tokenizer = AutoTokenizer.from_pretrained(folder)
        base: Any = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
        shape, count = base.config, settings["forewords"]
        config = PrefixTuningConfig(
            task_type=TaskType.FEATURE_EXTRACTION, num_virtual_tokens=settings["tokens"], inference_mode=True
        )
        self.model: Any = get_peft_model(base, config, adapter_name="0")
        self.heads = []
        for number in range(count):
            if number:
                self.model.add_adapter(str(number), config)
            own = {**settings, "seed": settings["seed"] + number}
            heads = shape.num_attention_heads
            table = prefix_table(own, shape.num_hidden_layers, heads, shape.hidden_size // heads)
            encoder: Any = self.model.prompt_encoder[str(number)]
            weight = encoder.embedding.weight
            with torch.no_grad():
                weight.copy_(table.permute(3, 0, 1, 2, 4).reshape(weight.shape))
            self.heads.append(head(settings, number, shape.hidden_size))
        self.model.eval()
        self.ids = [[tokenizer(text)["input_ids"] for text in window] for window in texts(settings)]
        self.names, self.pad = owners(settings, count), tokenizer.pad_token_id
        self._groups = _by_adapter if grouped else _one_by_one
        how = "an adapter of the window, its requests padded to their longest" if grouped else "a request"
        self.about = f"PEFT, prefix tuning, trunk without pooler: set_adapter and a pass for each of {how}"

    def step(self, number: int) -> float:
        self._window(number)
        return 0.0

    def check(self, count: int) -> list[float]:
        return [value for number in range(count) for answer in self._window(number) for value in answer]

    @torch.inference_mode()
    def _window(self, number: int) -> list[list[float]]:
        at = number % len(self.ids)
        answers: list[list[float]] = [[]] * len(self.ids[at])
        for name, places in self._groups(self.names[at]):
            self.model.set_adapter(str(name), inference_mode=True)
            ids, mask = padded([self.ids[at][place] for place in places], self.pad)
            hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
            scores = linear(hidden[:, 0], *self.heads[name]).tolist()
            for place, own in zip(places, scores, strict=True):
                answers[place] = own
        return answers


Groups = Callable[[list[int]], list[tuple[int, list[int]]]]


def _by_adapter(names: list[int]) -> list[tuple[int, list[int]]]:
    found: dict[int, list[int]] = {}
    for place, name in enumerate(names):
        found.setdefault(name, []).append(place)
    return list(found.items())


def _one_by_one(names: list[int]) -> list[tuple[int, list[int]]]:
    return [(name, [place]) for place, name in enumerate(names)]


def transformers_vectors(settings: Settings) -> Side:
    """transformers' model on the window as one padded batch, and the mean of the text's states."""
    return Vectors(settings)


class Vectors(Side):
    """What a script does that has no server."""

    def __init__(self, settings: Settings) -> None:
        from transformers import AutoModel, AutoTokenizer

        folder = named_model(settings["model"])
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
        self.ids = [[tokenizer(text)["input_ids"] for text in window] for window in texts(settings)]
        self.pad = tokenizer.pad_token_id
        self.about = "AutoModel, the window padded to its longest in one call, the mean by hand"

    def step(self, number: int) -> float:
        self._window(number)
        return 0.0

    def check(self, count: int) -> list[float]:
        return [value for number in range(count) for row in self._window(number).tolist() for value in row]

    @torch.inference_mode()
    def _window(self, number: int) -> Tensor:
        ids, mask = padded(self.ids[number % len(self.ids)], self.pad)
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def generate_batch(settings: Settings) -> Side:
    """transformers' continuous batching. **Raises** `Skip` with its error where it does not run here."""
    return Continuous(settings)


class Continuous(Side):
    """transformers' continuous batching of the base model."""

    def __init__(self, settings: Settings) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

        folder = named_model(settings["model"])
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.ids = [tokenizer(text)["input_ids"] for text in REQUESTS]
        # no token ends a text, so that all have their length
        self.config = GenerationConfig(max_new_tokens=settings["new"], do_sample=False, eos_token_id=-1, pad_token_id=0)
        try:
            self.check(1)
        except Exception as error:  # whatever it is, it is told
            raise Skip(f"generate_batch does not run here: {type(error).__name__}: {error}") from error
        self.about = "continuous batching as generate_batch does it, its manager started before each block; greedy"

    def block(self, start: int, count: int) -> tuple[float, list[float]]:
        with self._manager() as manager:  # one that waits would take time from the other side
            self._round(manager)
            began = time.perf_counter()
            for _ in range(count):
                self._round(manager)
            return (time.perf_counter() - began) / count, [0.0] * count

    def check(self, count: int) -> list[float]:
        with self._manager() as manager:
            return [float(token) for ids in self._round(manager) for token in ids]

    def _manager(self) -> Any:
        from transformers.generation.continuous_batching.utils import WorkloadHints

        longest, new = max(map(len, self.ids)), int(self.config.max_new_tokens)
        hints = WorkloadHints(max_prompt_length=longest, max_generated_length=new, num_requests=len(self.ids))
        return self.model.continuous_batching_context_manager(
            generation_config=self.config, workload_hints=hints, block=True, timeout=5
        )

    def _round(self, manager: Any) -> list[list[int]]:
        names = manager.add_requests(inputs=self.ids, max_new_tokens=self.config.max_new_tokens)
        found: dict[str, Any] = {}
        while len(found) < len(names):
            one = manager.get_result(timeout=1)
            if one is not None and one.is_finished():
                found[one.request_id] = one
            elif one is None and not manager.is_running():
                raise RuntimeError("the manager ended")
        made = [list(found[name].generated_tokens) for name in names]
        if any(len(ids) != self.config.max_new_tokens for ids in made):
            errors = sorted({str(one.error) for one in found.values() if one.error is not None})
            raise RuntimeError(f"answers of {[len(ids) for ids in made]} tokens; {'; '.join(errors)}")
        return made

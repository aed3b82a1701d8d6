"""How text is generated, as typed data; names and meanings are those of transformers."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from foreword.config import Settings
from foreword.errors import ConfigError


class GenerationOptions(Settings):
    """Greedy search by default, sampling with `do_sample`, beam search with `num_beams` above 1.

    `temperature`, `top_k` and `top_p` shape the distribution that is sampled from, in this order. `length_penalty`: a
    beam's score is its log-probability divided by its length to this power. `eos_token_ids` end a row (default: the
    tokenizer's; none with an empty tuple). `stop_strings` end a row too, and are cut off its text. `seed`: with the
    same seed a row gets the same samples in any batch.

    **Raises** `ConfigError` for settings that would have no effect, or that exclude each other.
    """

    max_new_tokens: int = Field(default=64, ge=1)
    num_return_sequences: int = Field(default=1, ge=1)
    num_beams: int = Field(default=1, ge=1)
    length_penalty: float = 1.0
    do_sample: bool = False
    temperature: float | None = Field(default=None, gt=0)
    top_k: int | None = Field(default=None, ge=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int = Field(default=0, ge=0)
    eos_token_ids: tuple[int, ...] | None = None
    stop_strings: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        shaping = [name for name in ("temperature", "top_k", "top_p") if getattr(self, name) is not None]
        if self.do_sample and self.num_beams > 1:
            raise ConfigError(
                f"do_sample with num_beams={self.num_beams}: sampling and beam search exclude each other",
                do="leave out one of them",
            )
        if shaping and not self.do_sample:
            raise ConfigError(f"{shaping[0]} has no effect without sampling", do=f"set do_sample, or drop {shaping[0]}")
        if self.length_penalty != 1.0 and self.num_beams == 1:
            raise ConfigError("length_penalty has no effect without beam search", do="set num_beams above 1")
        if self.num_beams > 1 and self.num_return_sequences > self.num_beams:
            raise ConfigError(
                f"num_return_sequences={self.num_return_sequences} of num_beams={self.num_beams}",
                do="use at least as many beams as sequences",
            )
        if self.num_beams == 1 and not self.do_sample and self.num_return_sequences > 1:
            raise ConfigError(
                f"greedy search finds one sequence, not num_return_sequences={self.num_return_sequences}",
                do="set do_sample or num_beams",
            )
        if "" in self.stop_strings:
            raise ConfigError("an empty stop string would end every row at once", do="leave it out")
        return self

"""What a server may use, and what a request may ask for."""

from __future__ import annotations

from pydantic import Field

from foreword.config import Settings

MIB = 2**20


class Limits(Settings):
    """Bounds of one server.

    Memory: `resident_bytes` of forewords (tensors, and the key/values that stand in front of their requests);
    `cache_bytes` of key/values of running texts; with `packed_weights`, a model that writes has its matrices in memory
    twice, the second time laid out for steps (`foreword.serving.packing`); a front of at most `front_places` is copied
    to each text behind it, and a longer one is shared (`foreword.serving.attention`). Work: `slots` texts are written
    at a time; `batch_tokens` padded tokens, and `batch_items`, are in one pass; `prefill_tokens` in one while texts are
    being written, and of a prompt between two of their tokens; `wait_seconds` a batch waits for company. Requests:
    `queue` may wait; `body_bytes` in length; `inputs` texts in one, of `passage_characters` together where each is read
    in windows; `choices` answers to one; `answer_tokens` are
    written where a chat asks for no number. Time: `body_seconds` for a body to arrive, `reader_seconds` for a reader to
    take a piece, `grace_seconds` to finish what runs when the server is stopped. `connections` may be open.
    """

    resident_bytes: int = Field(512 * MIB, ge=1)
    cache_bytes: int = Field(1024 * MIB, ge=1)
    packed_weights: bool = True
    front_places: int = Field(64, ge=0)
    slots: int = Field(16, ge=1, le=1024)
    batch_tokens: int = Field(2048, ge=16)
    prefill_tokens: int = Field(256, ge=1)
    batch_items: int = Field(32, ge=1)
    wait_seconds: float = Field(0.002, ge=0, le=1)
    queue: int = Field(256, ge=1)
    body_bytes: int = Field(MIB, ge=64)
    inputs: int = Field(128, ge=1)
    passage_characters: int = Field(2**16, ge=64)
    choices: int = Field(8, ge=1)
    answer_tokens: int = Field(256, ge=1)
    body_seconds: float = Field(30.0, gt=0)
    reader_seconds: float = Field(60.0, gt=0)
    grace_seconds: float = Field(20.0, ge=0)
    connections: int = Field(1024, ge=1)

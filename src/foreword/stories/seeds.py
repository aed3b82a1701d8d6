"""Seeds from seeds."""

from __future__ import annotations

import hashlib


def story_seed(seed: int, number: int) -> int:
    """The seed of the story `number` of a run, or of its part or repair of that number, below 2**32."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")

"""What the server is asked: short texts of reviews, and prompts of a given length. Nothing heavy is loaded here."""

from __future__ import annotations

import random

THINGS = ("The screen", "The battery", "This camera", "The keyboard", "The sound", "Its case", "The manual", "Delivery")
VERBS = ("is", "was", "seems", "looks", "feels")
WORDS = ("great", "poor", "fine", "far too small", "better than I thought", "not worth the money", "a joy", "broken")
ENDS = (".", "!", ", sadly.", " so far.", ", and I would buy it again.", " after a week.")
STORY = "The river ran past the mill, and the miller's children counted the boats until the light was gone. "


def short_texts(count: int, seed: int) -> list[str]:
    """Sentences of about seven to seventeen tokens."""
    chance = random.Random(seed)
    return [
        f"{chance.choice(THINGS)} {chance.choice(VERBS)} {chance.choice(WORDS)}{chance.choice(ENDS)}"
        for _ in range(count)
    ]


def long_text(words: int) -> str:
    """A text of at least so many words."""
    return STORY * (1 + words // len(STORY.split()))

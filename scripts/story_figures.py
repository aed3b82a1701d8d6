"""What docs/stories*.md say of intervals and of old tales: `python scripts/story_figures.py [FOLDER OF TALES]`.

Writes results/stories/figures.json. FOLDER holds JSON lines with a `text` each; without it the tales' part is kept.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foreword.stories.constraints.no_repetition import circling
from foreword.stories.diversity import intervals, measures
from foreword.stories.diversity.corpus import Sample
from foreword.stories.language import Prose
from foreword.stories.language.reading import known_words, unknown

TARGET = Path("results/stories/figures.json")
SAMPLES, RESAMPLES = 1500, 200
CASES = (("1/k", 30, 8), ("1/k", 30, 20), ("1/k", 6, 8), ("1/k", 6, 20), ("1/k", 6, 4), ("equal", 5, 8),
         ("equal", 50, 8), ("equal", 50, 20), ("4:1", 2, 8))  # fmt: skip


def main() -> None:
    figures = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    figures["intervals"] = {"samples": SAMPLES, "cases": [coverage(*case) for case in CASES]}
    if len(sys.argv) > 1:
        figures["tales"] = tales(Path(sys.argv[1]))
    TARGET.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


def coverage(shares: str, kinds: int, n: int) -> dict[str, object]:
    """How often intervals for the Vendi score hold the truth: n stories of kinds that have nothing in common."""
    chance = np.random.default_rng(5)
    p = {"1/k": 1 / np.arange(1, kinds + 1), "equal": np.ones(kinds), "4:1": np.array([4.0, 1.0])}[shares]
    p = p / p.sum()
    truth = float(vendi(chance.choice(kinds, size=(20_000, n), p=p), kinds).mean())
    drawn = chance.choice(kinds, size=(SAMPLES, n), p=p)
    picks = chance.integers(0, n, size=(SAMPLES, RESAMPLES, n))
    resampled = vendi(drawn[np.arange(SAMPLES)[:, None, None], picks], kinds)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=1)
    ours = [intervals.estimate(measures.get("vendi_words"), sample(one), n).interval for one in drawn.tolist()]
    held = [one is not None and one.low - 1e-9 <= truth <= one.high + 1e-9 for one in ours]
    return {
        "shares": shares, "kinds": kinds, "n": n, "true": round(truth, 3),
        "bootstrap_mean": round(float(resampled.mean()), 3),
        "bootstrap_holds": round(float(((low <= truth) & (truth <= high)).mean()), 3),
        "ours_hold": round(float(np.mean(held)), 3),
    }  # fmt: skip


def vendi(drawn: np.ndarray, kinds: int) -> np.ndarray:
    """The score of stories `[..., n]` that are given as their kinds."""
    share = np.stack([(drawn == kind).mean(-1) for kind in range(kinds)], axis=-1)
    return np.exp(-np.where(share > 0, share * np.log(np.where(share > 0, share, 1)), 0).sum(-1))


def sample(kinds: Sequence[int]) -> Sample:
    table = np.equal.outer(np.array(kinds), np.array(kinds)).astype(float)
    words = tuple((str(kind),) for kind in kinds)
    return Sample(tuple(map(str, kinds)), words, {"words": table}, {"words": table})


def tales(folder: Path) -> dict[str, object]:
    """Repeated word pairs in the tales' first 100 to 400 words, and the share of words that a child knows."""
    files = sorted(folder.glob("*.jsonl"))
    texts = [json.loads(line)["text"] for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    pairs, known, known_list = [], [], known_words()
    for text in texts:
        prose = Prose(text)
        if len(prose.words) >= 100:
            pairs.append(circling(prose.words[:400]))
        known.append(1 - len(unknown(prose, known_list)) / max(1, len(prose.words)))
    return {
        "texts": len(texts), "passages": len(pairs),
        "repeated_pairs": {f"{q}%": round(float(np.quantile(pairs, q / 100)), 3) for q in (50, 90, 99)},
        "known_words": {f"{q}%": round(float(np.quantile(known, q / 100)), 3) for q in (10, 50, 90)},
    }  # fmt: skip


if __name__ == "__main__":
    main()

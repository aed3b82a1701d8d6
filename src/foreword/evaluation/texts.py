"""How well written texts match their targets: ROUGE, BLEU, chrF and two shares; all in percent.

A row has one target or several. By row, the best over its targets counts; BLEU and chrF take several as sacrebleu does.

- `rouge_1`, `rouge_2`, `rouge_l`: the F-measure by rouge-score, mean over the rows. **L** is its "rougeL", the longest
  common subsequence of the whole texts, line breaks ignored; not the "rougeLsum" by sentences that some summarization
  papers call ROUGE-L. rouge-score knows the letters a-z and digits only: an umlaut splits a word, and a text in
  another script scores 0.
- `bleu`, `chrf`: of the whole corpus, by sacrebleu; quote them with `signatures`.
- `target_token_share`: the percentage of target tokens that the output holds, see there.
- `exact_match_share`: rows whose output equals the target, white space around either aside.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foreword.errors import ConfigError, did_you_mean
from foreword.evaluation.answers import metric_max, paired

Targets = Sequence[str | Sequence[str]]

TOKENIZERS = ("13a", "char", "intl", "none", "zh")
"""Those of sacrebleu's tokenizers for BLEU that need no further package or download."""

_ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
BY_ROW = (*_ROUGE, "target_token_share", "exact_match_share")
"""The metrics that are means over rows."""
CORPUS = ("bleu", "chrf")
"""The metrics that are functions of a corpus's summed counts."""
_ORDER = {"bleu": 4, "chrf": 6}  # sacrebleu's defaults: n-grams of up to so many words, and characters
_BETA = 2  # chrF's weight of recall, sacrebleu's default


@dataclass(frozen=True, slots=True)
class Options:
    """What the scores depend on besides the texts.

    `use_stemmer`: ROUGE compares Porter stems of English words (of more than three letters). `tokenize`: BLEU's words,
    one of `TOKENIZERS`. `lowercase`: BLEU and chrF ignore case.
    """

    use_stemmer: bool = True
    tokenize: str = "13a"
    lowercase: bool = False

    def __post_init__(self) -> None:
        if self.tokenize not in TOKENIZERS:
            raise ConfigError(
                f"BLEU's words cannot be found by '{self.tokenize}'", do=did_you_mean(self.tokenize, TOKENIZERS)
            )


DEFAULT = Options()


def score(
    predictions: Sequence[str],
    references: Targets,
    names: Sequence[str] = (*BY_ROW, *CORPUS),
    options: Options = DEFAULT,
) -> dict[str, float]:
    """The metrics called `names` of the outputs `predictions` `[N]` against `references`, a row's target or targets.

    **Raises** `DataError` where these do not fit together, `ConfigError` for an unknown name or a missing package.
    """
    _check(names, (*BY_ROW, *CORPUS))
    by_row = rows(predictions, references, [name for name in names if name in BY_ROW], options)
    measured = {name: sum(values) / len(values) for name, values in by_row.items()}
    pairs = paired(predictions, references)
    return {name: measured[name] if name in measured else _corpus_score(name, pairs, options) for name in names}


def rows(
    predictions: Sequence[str], references: Targets, names: Sequence[str] = BY_ROW, options: Options = DEFAULT
) -> dict[str, list[float]]:
    """Each row's metrics, of those in `BY_ROW`, `[N]` each, in percent. `score` is their mean.

    **Raises** as `score` does; for BLEU and chrF, which no row has by itself, see `corpus_rows`.
    """
    _check(names, BY_ROW)
    pairs = paired(predictions, references)
    measured = _rouge([name for name in names if name in _ROUGE], pairs, options)
    for name, metric in (("target_token_share", target_token_share), ("exact_match_share", _equal)):
        if name in names:
            measured[name] = [metric_max(metric, output, targets) for output, targets in pairs]
    return {name: measured[name] for name in names}


def target_token_share(output: str, target: str) -> float:
    r"""The percentage of a target's tokens that the output holds: 100 · |target ∩ output| / |target|, as multisets.

    Tokens are runs of letters, digits and underscores, with the signs that combine with them (accents, vowels of
    Indic scripts), in the lower-cased text in Unicode's form C; scripts without spaces give a token a sentence. A token
    that the target has n times is held at most n times. A target without tokens scores 0. Over several rows, `rows` and
    `score` take the mean of the rows' percentages. (The metric of the GPT-2 report that this project reproduces.)

    **Where it misleads.** It is recall alone. A long output that holds everything scores 100, whatever else it says:
    in summarization it rewards copying the source over telling it in other words, and writing on until the limit
    never costs anything. Order and repetition do not count, so a bag of the right words is as good as a sentence.
    Function words ("the", "of") are held by any text. Other forms and synonyms of a word are not held. Read it beside
    ROUGE's or BLEU's figure and the outputs' lengths, never alone.
    """
    wanted = Counter(tokens(target))
    held = wanted & Counter(tokens(output))
    return 100.0 * held.total() / wanted.total() if wanted else 0.0


def tokens(text: str) -> list[str]:
    """The tokens of `target_token_share`."""
    runs = groupby(unicodedata.normalize("NFC", text.lower()), _of_word)
    return ["".join(run) for of_word, run in runs if of_word]


def _of_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_" or unicodedata.category(letter).startswith("M")


def signatures(
    references: Targets, names: Sequence[str] = (*_ROUGE, *CORPUS), options: Options = DEFAULT
) -> dict[str, str]:
    """What has to be quoted with each score so that others can compute the same; sacrebleu's own for BLEU and chrF.

    Metrics of `names` that need none are left out. **Raises** as `score` does.
    """
    _check(names, (*BY_ROW, *CORPUS))
    golds = [targets for _, targets in paired([""] * len(references), references)]
    found = {}
    for name in names:
        if name in CORPUS:
            found[name] = _metric(name, options, references=_streams(golds)).get_signature().format()
        elif name in _ROUGE:
            _rouge_scorer()
            stem = "yes" if options.use_stemmer else "no"
            found[name] = f"{_ROUGE[name]}|f:mean|stem:{stem}|rouge-score:{version('rouge-score')}"
    return found


def corpus_rows(
    name: str, predictions: Sequence[str], references: Targets, options: Options = DEFAULT
) -> NDArray[np.int64]:
    """Each row's counts, `[N, K]`, whose sum `from_corpus_rows` turns into BLEU or chrF: for a bootstrap of rows.

    K is 10 for BLEU (the output's and the target's length, right n-grams, all n-grams; n = 1 … 4) and 18 for chrF (the
    output's, the target's and the shared n-grams of characters; n = 1 … 6). To compare two systems, resample
    both systems' rows with the same indices.
    """
    _check((name,), CORPUS)
    pairs = paired(predictions, references)
    if name == "chrf":
        return np.array([_chrf_counts(output, targets, options) for output, targets in pairs])
    # The effective order changes a sentence's score, which is not used; without it sacrebleu warns for every row.
    metric = _metric("bleu", options, effective_order=True)
    found = [metric.sentence_score(output, list(targets)) for output, targets in pairs]
    return np.array([[s.sys_len, s.ref_len, *s.counts, *s.totals] for s in found], dtype=np.int64)


def from_corpus_rows(name: str, counts: ArrayLike) -> float:
    """BLEU or chrF, in percent, of the rows or the resample `[M, K]` of them that `corpus_rows` counted."""
    _check((name,), CORPUS)
    table, order = np.asarray(counts), _ORDER[name]
    width = 2 + 2 * order if name == "bleu" else 3 * order
    if table.ndim != 2 or table.shape[1] != width:
        raise ValueError(f"{name} is computed from counts [M, {width}], not {table.shape}")
    summed = [round(value) for value in table.sum(0).tolist()]  # a bootstrap may hand them over as floats
    if name == "chrf":
        return _chrf(summed)
    right, total = summed[2 : 2 + order], summed[2 + order :]
    return float(_sacrebleu().BLEU.compute_bleu(right, total, summed[0], summed[1], smooth_method="exp").score)


def _equal(output: str, target: str) -> float:
    return 100.0 * (output.strip() == target.strip())


def _rouge(
    names: Sequence[str], pairs: Sequence[tuple[str, tuple[str, ...]]], options: Options
) -> dict[str, list[float]]:
    if not names:
        return {}
    scorer = _rouge_scorer().RougeScorer([_ROUGE[name] for name in names], use_stemmer=options.use_stemmer)
    found = [[scorer.score(target, output) for target in targets] for output, targets in pairs]
    return {name: [100.0 * max(s[_ROUGE[name]].fmeasure for s in scores) for scores in found] for name in names}


def _corpus_score(name: str, pairs: Sequence[tuple[str, tuple[str, ...]]], options: Options) -> float:
    outputs = [output for output, _ in pairs]
    return float(_metric(name, options).corpus_score(outputs, _streams([targets for _, targets in pairs])).score)


def _streams(golds: Sequence[tuple[str, ...]]) -> list[list[str | None]]:
    """The targets as sacrebleu takes them: the first of every row, the second of every row …; None where none is."""
    most = max(len(targets) for targets in golds)
    return [[targets[i] if i < len(targets) else None for targets in golds] for i in range(most)]


def _metric(name: str, options: Options, **more: Any) -> Any:
    if name == "bleu":
        return _sacrebleu().BLEU(lowercase=options.lowercase, tokenize=options.tokenize, **more)
    return _sacrebleu().CHRF(lowercase=options.lowercase, **more)


def _chrf_counts(output: str, targets: Sequence[str], options: Options) -> list[int]:
    """Counts `[18]` against the target that this row alone does best on, the first of equals (Popović 2015)."""
    made = _ngrams(output, options)
    found = []
    for target in targets:
        wanted = _ngrams(target, options)
        # Longer n-grams than the target has could not have been right, and are not counted as wrong.
        found.append(
            [n for m, w in zip(made, wanted, strict=True) for n in (m.total() * bool(w), w.total(), (m & w).total())]
        )
    return max(found, key=_chrf)


def _ngrams(text: str, options: Options) -> list[Counter[str]]:
    """The character n-grams of a text without its white space, n = 1 … 6."""
    characters = "".join((text.lower() if options.lowercase else text).split())
    return [
        Counter(characters[i : i + n] for i in range(len(characters) - n + 1)) for n in range(1, _ORDER["chrf"] + 1)
    ]


def _chrf(counts: Sequence[int]) -> float:
    """F-beta of precision and recall, each the mean over those n of which both sides have n-grams."""
    sides = [(m, w, both) for m, w, both in zip(counts[::3], counts[1::3], counts[2::3], strict=True) if m and w]
    if not sides:
        return 0.0
    precision = sum(both / m for m, _, both in sides) / len(sides)
    recall = sum(both / w for _, w, both in sides) / len(sides)
    weighted = _BETA**2 * precision + recall
    return 100.0 * (1 + _BETA**2) * precision * recall / weighted if weighted else 0.0


def _check(names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name in CORPUS and name not in known:
            raise ConfigError(f"no row has a {name} by itself", do="use corpus_rows, and from_corpus_rows of their sum")
        if name not in known:
            raise ConfigError(f"unknown metric of texts '{name}'", do=did_you_mean(name, known))


def _rouge_scorer() -> Any:
    try:
        from rouge_score import rouge_scorer
    except ImportError:
        raise ConfigError("ROUGE needs rouge-score", do="pip install 'foreword[eval]'") from None
    return rouge_scorer


def _sacrebleu() -> Any:
    try:
        import sacrebleu
    except ImportError:
        raise ConfigError("BLEU and chrF need sacrebleu", do="pip install 'foreword[eval]'") from None
    return sacrebleu

"""Text metrics against sacrebleu's own corpus scores, second computations of ROUGE and the share, and their laws."""

from __future__ import annotations

import re
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import ConfigError, DataError
from foreword.evaluation import statistics, texts
from foreword.evaluation.texts import Options

WORDS = st.sampled_from(["Der", "Hund", "hund", "läuft", "über", "die", "Straße", ",", ".", "dogs", "running", "3"])
LINES = st.lists(WORDS, max_size=9).map(" ".join)
ROUGE = ("rouge_1", "rouge_2", "rouge_l")


@st.composite
def corpora(draw):
    """Outputs and one to three targets a row, some outputs near a target."""
    references = draw(st.lists(st.lists(LINES, min_size=1, max_size=3), min_size=1, max_size=5))
    outputs = [draw(st.one_of(LINES, st.just(targets[0]))) for targets in references]
    return outputs, references


def streams(references):
    most = max(map(len, references))
    return [[targets[i] if i < len(targets) else None for targets in references] for i in range(most)]


@settings(max_examples=40, deadline=None)
@given(corpora(), st.booleans(), st.sampled_from(["13a", "intl", "none"]), st.randoms(use_true_random=False))
def test_bleu_of_summed_rows_is_sacrebleus(corpus, lowercase, tokenize, random):
    sacrebleu = pytest.importorskip("sacrebleu")
    outputs, references = corpus
    options = Options(lowercase=lowercase, tokenize=tokenize)
    counts = texts.corpus_rows("bleu", outputs, references, options)
    assert counts.shape == (len(outputs), 10)
    drawn = [random.randrange(len(outputs)) for _ in outputs]  # a bootstrap's resample, and the corpus itself
    for index in (range(len(outputs)), drawn):
        some, targets = [outputs[i] for i in index], [references[i] for i in index]
        expected = sacrebleu.corpus_bleu(some, streams(targets), lowercase=lowercase, tokenize=tokenize).score
        assert texts.from_corpus_rows("bleu", counts[list(index)]) == pytest.approx(expected)
        assert texts.score(some, targets, ["bleu"], options) == {"bleu": pytest.approx(expected)}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.one_of(LINES, st.text(max_size=10))] * 3), min_size=1, max_size=5), st.booleans())
def test_chrf_of_summed_rows_is_sacrebleus(drawn, lowercase):
    sacrebleu = pytest.importorskip("sacrebleu")
    outputs, references = [row[0] for row in drawn], [row[1:] for row in drawn]
    counts = texts.corpus_rows("chrf", outputs, references, Options(lowercase=lowercase))
    assert counts.shape == (len(outputs), 18)
    expected = sacrebleu.CHRF(lowercase=lowercase).corpus_score(outputs, streams(references)).score
    assert texts.from_corpus_rows("chrf", counts) == pytest.approx(expected)
    found = texts.score(outputs, references, ["chrf"], Options(lowercase=lowercase))
    assert found == {"chrf": pytest.approx(expected)}


def test_corpus_counts_serve_the_bootstrap():
    outputs, references = ["a b c d e", "f g h i", "k l m n o"], ["a b c d e", "f g h j", "k l m n p"]
    for name in texts.CORPUS:
        counts = texts.corpus_rows(name, outputs, references)
        found = statistics.bootstrap_interval(counts, lambda rows, name=name: texts.from_corpus_rows(name, rows), n=50)
        assert 0 < found.low < texts.score(outputs, references, [name])[name] < found.high <= 100 + 1e-9


@settings(max_examples=20, deadline=None)
@given(corpora())
def test_rouge_agrees_with_a_second_computation(corpus):
    outputs, references = corpus
    found = texts.rows(outputs, references, ROUGE, Options(use_stemmer=False))
    for i, output in enumerate(outputs):
        for name, compute in zip(
            ROUGE, (lambda a, b: ngram_f(a, b, 1), lambda a, b: ngram_f(a, b, 2), lcs_f), strict=True
        ):
            expected = max(compute(split(output), split(target)) for target in references[i])
            assert found[name][i] == pytest.approx(100 * expected)
    measured = texts.score(outputs, references, ROUGE, Options(use_stemmer=False))
    assert measured == pytest.approx({name: sum(values) / len(outputs) for name, values in found.items()})


def split(text):
    return re.findall("[a-z0-9]+", text.lower())


def f_measure(shared, made, wanted):
    return 2 * shared / (made + wanted) if shared else 0.0


def ngram_f(made, wanted, n):
    ours, theirs = ([tuple(side[i : i + n]) for i in range(len(side) - n + 1)] for side in (made, wanted))
    shared = sum(min(ours.count(gram), theirs.count(gram)) for gram in set(ours))
    return f_measure(shared, len(ours), len(theirs))


def lcs_f(made, wanted):
    best = [0] * (len(wanted) + 1)  # the longest common subsequence with the first j words
    for word in made:
        before = best[:]
        for j, other in enumerate(wanted):
            best[j + 1] = before[j] + 1 if word == other else max(before[j + 1], best[j])
    return f_measure(best[-1], len(made), len(wanted))


def test_rouge_l_is_of_the_whole_text():
    # By lines, as rougeLsum has it, both lines would be found: 100.
    assert texts.score(["b b\na a"], ["a a\nb b"], ["rouge_l"]) == {"rouge_l": 50.0}


def test_the_stemmer_is_an_option():
    for stem, expected in ((True, 100.0), (False, 0.0)):
        assert texts.score(["running"], ["runs"], ["rouge_1"], Options(use_stemmer=stem)) == {"rouge_1": expected}


@pytest.mark.parametrize(
    ("output", "target", "expected"),
    [
        ("The dog, and the cat.", "the THE dog", 100),  # case and punctuation aside
        ("the dog", "the the dog", 200 / 3),  # twice in the target, once in the output
        ("dog the", "the dog", 100),  # order does not count
        ("nothing", "the dog", 0),
        ("", "the dog", 0),
        ("anything", "", 0),
        ("anything", "…", 0),
        ("don t", "don't", 100),
        ("Straße läuft", "straße", 100),
        ("cafe\u0301", "caf\u00e9", 100),  # one letter or a letter and its accent
        ("\u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u0926", 0),  # vowel signs are of the word
        ("\u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u093f\u0928\u094d\u0926\u0940", 100),
    ],
)
def test_target_token_share_by_hand(output, target, expected):
    assert texts.target_token_share(output, target) == pytest.approx(expected)


@settings(max_examples=80, deadline=None)
@given(st.one_of(LINES, st.text(max_size=12)), st.one_of(LINES, st.text(max_size=12)), st.text(max_size=8))
def test_target_token_share_is_recall_alone(output, target, more):
    left, wanted = (
        "".join(c if c == "_" or unicodedata.category(c)[0] in "LNM" else " " for c in text).split()
        for text in (unicodedata.normalize("NFC", one.lower()) for one in (output, target))
    )
    held = 0
    for token in wanted:
        if token in left:
            left.remove(token)
            held += 1
    share = texts.target_token_share(output, target)
    assert share == pytest.approx(100 * held / len(wanted) if wanted else 0)
    assert texts.target_token_share(f"{output} {more}", target) >= share  # writing on never costs anything
    assert texts.target_token_share(f"{more} {target} {output}", target) == (100 if wanted else 0)  # copying is right


@settings(max_examples=40, deadline=None)
@given(corpora())
def test_shares_take_the_best_target_and_the_mean(corpus):
    outputs, references = corpus
    names = ("target_token_share", "exact_match_share")
    found = texts.rows(outputs, references, names)
    for i, (output, targets) in enumerate(zip(outputs, references, strict=True)):
        assert found["target_token_share"][i] == max(texts.target_token_share(output, target) for target in targets)
        assert found["exact_match_share"][i] == 100 * (output in targets)
    expected = {name: sum(values) / len(outputs) for name, values in found.items()}
    assert texts.score(outputs, references, names) == pytest.approx(expected)


def test_exact_match_leaves_only_white_space_aside():
    outputs, targets = [" yes\n", "Yes", "yes.", "no way"], ["yes", "yes", "yes", "no  way"]
    assert texts.score(outputs, targets, ["exact_match_share"]) == {"exact_match_share": 25.0}


def test_without_names_everything_is_measured():
    found = texts.score(["the dog runs over there"], ["the dog runs over there"])
    assert set(found) == {*texts.BY_ROW, *texts.CORPUS}
    assert found == pytest.approx(dict.fromkeys(found, 100.0))


def test_signatures_say_what_was_computed():
    sacrebleu = pytest.importorskip("sacrebleu")
    found = texts.signatures(["a", "b"], ["bleu", "chrf", "rouge_l", "target_token_share"])
    metric = sacrebleu.BLEU()
    metric.corpus_score(["a", "b"], [["a", "b"]])
    assert found["bleu"] == str(metric.get_signature())
    assert "nrefs:1|case:mixed" in found["bleu"] and "tok:13a" in found["bleu"]
    assert "nc:6|nw:0" in found["chrf"]
    assert found["rouge_l"].startswith("rougeL|f:mean|stem:yes|rouge-score:")
    assert "target_token_share" not in found
    other = texts.signatures(["a", ("b", "c")], ["bleu", "rouge_1"], Options(False, "intl", lowercase=True))
    assert "nrefs:var|case:lc" in other["bleu"] and "tok:intl" in other["bleu"] and "stem:no" in other["rouge_1"]


@pytest.mark.parametrize(
    ("name", "package"), [("rouge_1", "rouge_score"), ("bleu", "sacrebleu"), ("chrf", "sacrebleu")]
)
def test_a_missing_package_is_named_with_the_command(monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    for call in (lambda: texts.score(["a"], ["a"], [name]), lambda: texts.signatures(["a"], [name])):
        with pytest.raises(ConfigError, match=r"needs? .*(rouge-score|sacrebleu)") as caught:
            call()
        assert caught.value.do == "pip install 'foreword[eval]'"
    assert texts.score(["a"], ["a"], ["target_token_share"]) == {"target_token_share": 100.0}  # needs no package


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: texts.score(["a"], ["a"], ["rouge1"]), ConfigError, "did you mean 'rouge_1'"),
        (lambda: texts.rows(["a"], ["a"], ["bleu"]), ConfigError, "use corpus_rows"),
        (lambda: texts.corpus_rows("rouge_1", ["a"], ["a"]), ConfigError, "unknown metric"),
        (lambda: texts.score(["a"], ["a", "b"], ["bleu"]), DataError, "1 predictions for 2"),
        (lambda: texts.score([], [], ["chrf"]), DataError, "no rows"),
        (lambda: Options(tokenize="flores200"), ConfigError, "'flores200'"),
        (lambda: texts.from_corpus_rows("chrf", np.zeros((2, 10))), ValueError, "[M, 18]"),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)

"""The page of an inspection: one file with drawings, tables and what they do not show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from foreword.inspection.ablation import Ablated
from foreword.inspection.ensemble import Ensemble
from foreword.inspection.examine import Inspection
from foreword.inspection.likeness import Likeness
from foreword.inspection.plane import Plane
from foreword.page import parts, plots
from foreword.page.parts import Cell, Table
from foreword.page.plots import Bar, Dot
from foreword.page.render import Section, render, write

LABELLED = 12
"""Words of the map that have their names beside them; a pointer shows the others'."""


def page(path: Path, found: Inspection) -> Path:
    """Write the page of one foreword. **Raises** `ForewordError` where it cannot be written."""
    made = [_summary(found), _words(found), _map(found), _ablations(found), _attention(found), _effect(found)]
    sections = [section for section in [*made, _drift(found), _gaps(found)] if section.parts]
    return write(path, render(f"What {found.name} learned", f"{found.method} on {found.backbone}", sections))


def several_page(path: Path, alike: Likeness, together: Ensemble | None) -> Path:
    """Write the page of several forewords."""
    sections = [_likeness(alike)]
    if together is not None:
        sections.append(_ensemble(together))
    return write(path, render("How alike these forewords are", ", ".join(alike.names), sections))


def _summary(found: Inspection) -> Section:
    facts: dict[str, object] = {"method": found.method, "backbone": found.backbone, "virtual tokens": found.counted}
    if found.score is not None and found.interval is not None:
        low, high = found.interval.low, found.interval.high
        facts[found.metric] = f"{found.score:.4f} [{low:.4f}, {high:.4f}] on {found.rows} rows"
    said = []
    if found.words:
        near = sum(one.is_near for one in found.words)
        said.append(f"{near} of {len(found.words)} virtual tokens are nearer to a word than random vectors are.")
    if found.changed is not None:
        said.append(f"{found.changed[0]} of {found.rows} answers are others than those without the prompt.")
    if found.idle:
        said.append(f"Does nothing on these rows: {', '.join(found.idle)}.")
    return Section("In short", [parts.facts(facts), parts.notes(said) if said else ""])


def _words(found: Inspection) -> Section:
    if not found.words:
        return Section("Words near each virtual token")
    rows: list[list[Cell | str]] = [
        [
            str(one.token),
            Cell(
                ", ".join(word.word for word in one.nearest["cosine"]),
                tag="nearer than chance" if one.is_near else "no nearer than chance",
                warn=not one.is_near,
                note="" if one.moved is None else f"began at {one.start or 'no entry'}, cosine {one.moved:.2f}",
            ),
            f"{one.nearest['cosine'][0].value:.2f}",
            f"{one.median['cosine']:.2f}",
            f"{one.adjusted['cosine']:.3f}",
            one.nearest["dot"][0].word,
            one.nearest["euclidean"][0].word,
        ]
        for one in found.words
    ]
    kind = "whole words" if found.whole_words else "entries"
    columns = ("token", "nearest by cosine", "cosine", "half of random", "p (Holm)", "by dot product", "by distance")
    said: list[str | Markup | Table] = [
        f"Of {found.vocabulary:,} {kind}. Something is always nearest: p is the share of random vectors, with the mean "
        "and covariance of the word embeddings, that come as near. What is near a token is not what the prompt says "
        "(Khashabi et al. 2022).",
        Table(columns, rows, texts=2),
    ]
    if found.discrete is not None:
        said.append(f"The nearest words in its place: “{' '.join(found.discrete.words)}”.")
        said.append(_scores(found, [found.discrete.result], found.discrete.random))
    return Section("Words near each virtual token", said)


def _scores(found: Inspection, chosen: Sequence[Ablated], random: Sequence[float]) -> Markup:
    values = [Bar("the virtual tokens", found.score or 0.0, kind="best")]
    values += [Bar(one.name, one.score) for one in chosen]
    values += [Bar("random words", score, kind="plain", note=f"draw {i + 1}") for i, score in enumerate(random)]
    return plots.bars(values, f"{found.metric}, of the prompt and of words in its place")


def _map(found: Inspection) -> Section:
    if found.plane is None:
        return Section("Map")
    said = (
        f"The plane in which word embeddings vary most. It holds {found.plane.explained:.1%} of their variance, and "
        f"{found.plane.inside:.1%} of the tokens' squared distance from the middle: near on the map is not near."
    )
    return Section("Among the words", [said, _drawn(found.plane)])


def _drawn(plane: Plane) -> Markup:
    every = max(1, len(plane.words) // LABELLED)
    dots = [
        Dot(x, y, word if i % every == 0 else "", "words")
        for i, (word, (x, y)) in enumerate(zip(plane.words, plane.places.tolist(), strict=True))
    ]
    dots += [Dot(x, y, str(i), "virtual tokens") for i, (x, y) in enumerate(plane.tokens.tolist())]
    if plane.before is not None:
        dots += [Dot(x, y, "", "before training") for x, y in plane.before.tolist()]
    return plots.scatter(dots, "first component", "second component", "Virtual tokens among words")


def _ablations(found: Inspection) -> Section:
    if not found.ablations and found.minimal is None:
        return Section("Without a part of it")
    rows: list[list[Cell | str]] = [
        [
            Cell(one.name, tag="does nothing" if one.nothing else "", warn=one.nothing),
            f"{one.score:.4f}",
            f"{one.test.difference:+.4f}",
            f"[{one.test.interval.low:+.4f}, {one.test.interval.high:+.4f}]",
            f"{one.loss_change:+.4f}",
            "" if one.changed is None else str(one.changed),
        ]
        for one in found.ablations
    ]
    said: list[str | Markup | Table] = [
        "The readout stays as it was trained beside the whole, and nothing is trained again: this is what the foreword "
        "leans on, not what one without the part could learn. Intervals are 95%, by a paired bootstrap over the rows.",
        Table(("without", found.metric, "change", "interval", "loss change", "other answers"), rows),
    ]
    if found.minimal is not None:
        said.append(f"Minimal prompt: {found.minimal.told}")
    if found.minimal_result is not None:
        said.append(f"On the rows above it scores {found.minimal_result.told}.")
    return Section("Without a part of it", said)


def _attention(found: Inspection) -> Section:
    if found.shares is None:
        return Section("Attention")
    shares = found.shares
    layers = [f"layer {layer}" for layer in shares.layers]
    heads = [str(i) for i in range(shares.by_head.shape[1])]
    tokens = [str(i) for i in range(shares.by_head.shape[2])]
    even = ", ".join(f"{name}: {share:.3f}" for name, share in zip(layers, shares.uniform, strict=True))
    if max(shares.uniform) - min(shares.uniform) < 5e-4:
        even = f"{shares.uniform[0]:.3f} in every layer"
    said = (
        f"Of {shares.queries:,} tokens of text. Were attention even over all that can be seen, the prompt's share "
        f"would be {even}. A share says where a mean is taken from, not what it changes; the ablations say that."
    )
    by_head = plots.heatmap(shares.whole.tolist(), layers, heads, "Share of all virtual tokens, by layer and head")
    by_token = plots.heatmap(shares.by_token.tolist(), layers, tokens, "Share of each virtual token, mean of the heads")
    return Section("Attention to the prompt", [said, by_head, by_token])


def _effect(found: Inspection) -> Section:
    made: list[str | Markup | Table] = []
    if found.effect is not None:
        effect = found.effect
        made.append(
            "How far the state behind the last layer is from the bare backbone's, as a share of the latter's length: "
            f"{effect.mean:.3f} on the mean over {effect.tokens:,} tokens."
        )
        for title, some in (("moved most", effect.most), ("moved least", effect.least)):
            rows = [[one.token, f"{one.change:.3f}", str(one.count)] for one in some]
            made.append(Table(("token", "change", "met"), rows, caption=title))
    if found.changed is not None:
        count, examples = found.changed
        made.append(f"{count} of {found.rows} answers are others than without the prompt, under the same readout.")
        rows = [[" | ".join(map(str, one.row.values())), one.without, one.with_prompt] for one in examples]
        made.append(Table(("input", "without", "with"), rows, texts=3))
    return Section("What it moves", made)


def _drift(found: Inspection) -> Section:
    if not found.moved:
        return Section("Drift")
    rows = [
        [
            one.part, f"{one.before:.4g}", f"{one.after:.4g}", f"{one.distance:.4g}",
            "" if one.cosine is None else f"{one.cosine:.3f}",
        ]
        for one in found.moved
    ]  # fmt: skip
    made: list[str | Markup | Table] = [Table(("part", "length before", "after", "moved by", "cosine"), rows)]
    if found.course:
        way = [(float(one["step"]), float(one["distance"])) for one in found.course]
        made.append(
            "Of all its numbers as they are stored, of LoRA and adapters not the product as in the table; the run may "
            "have kept an earlier step than the last."
        )
        made.append(plots.line_chart({"distance": way}, "step", "distance", "Distance from where it began"))
    return Section("Drift from where it began", made)


def _gaps(found: Inspection) -> Section:
    if not found.gaps:
        return Section("Not here")
    return Section("Not here", [parts.notes([f"{name}: {reason}" for name, reason in found.gaps.items()])])


def _likeness(alike: Likeness) -> Section:
    made: list[str | Markup | Table] = [
        "Cosines. The first is of task vectors: what a foreword is less what it was before training, so that a common "
        "start does not count as likeness. Neither says that two forewords do the same."
    ]
    for title, matrix in (("What training moved them by", alike.moved), ("What they are", alike.values)):
        if any(value is not None for line in matrix for value in line):
            filled = [[float("nan") if value is None else value for value in line] for line in matrix]
            made.append(plots.heatmap(filled, alike.names, [str(i + 1) for i in range(len(alike.names))], title))
    nearest = [(name, alike.nearest(i)) for i, name in enumerate(alike.names)]
    rows = [
        [name, alike.names[best[0]], f"{best[1]:+.3f}", f"± {alike.chance[i][best[0]] or 0.0:.3f}",
         "" if alike.beyond_chance(i, *best) else "no nearer than two random ones may be"]
        for i, (name, best) in enumerate(nearest) if best is not None
    ]  # fmt: skip
    made.append(Table(("foreword", "nearest", "cosine", "two random ones", ""), rows, texts=2))
    return Section("Likeness", made)


def _ensemble(together: Ensemble) -> Section:
    values = [Bar(name, score) for name, score in zip(together.names, together.members, strict=True)]
    values.append(Bar("all as one", together.accuracy, kind="best"))
    gains = [
        [name, f"{test.difference:+.4f}", f"[{test.interval.low:+.4f}, {test.interval.high:+.4f}]"]
        for name, test in (("the members' mean", together.over_mean), ("the best on these rows", together.over_best))
    ]
    return Section(
        "All as one",
        [
            f"The mean of their probabilities on {together.rows} rows, in one pass; all agree on {together.agree:.1%}.",
            plots.bars(values, "accuracy"),
            Table(("gain over", "accuracy", "95% interval"), gains),
        ],
    )

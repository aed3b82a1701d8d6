"""What `foreword inspect` prints: tables of what was found, each with what it means in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foreword.cli.render import grid, out, pairs

if TYPE_CHECKING:
    from foreword.evaluation.statistics import PairedTest
    from foreword.inspection import Ensemble, Inspection, Likeness

MOST = 24
"""Lines of a table on a terminal; JSON and the page have all."""


def show(found: Inspection) -> None:
    """All of an inspection that there is."""
    facts = [("method", found.method), ("backbone", found.backbone), ("virtual tokens", found.counted)]
    if found.score is not None and found.interval is not None:
        low, high = found.interval.low, found.interval.high
        facts.append((found.metric, f"{found.score:.4f} [{low:.4f}, {high:.4f}] on {found.rows} rows"))
    pairs(facts, found.name)
    _words(found)
    _drift(found)
    _ablations(found)
    _attention(found)
    _effect(found)
    for name, reason in found.gaps.items():
        out.print(f"\nnot here, {name}: {reason}", markup=False)


def _words(found: Inspection) -> None:
    if not found.words:
        return
    kind = "whole words" if found.whole_words else "entries"
    rows = []
    for one in found.words[:MOST]:
        near = ", ".join(word.word for word in one.nearest["cosine"])
        best, share = one.nearest["cosine"][0].value, one.adjusted["cosine"]
        rows.append(
            [
                str(one.token), near, f"{best:.2f}", f"{one.median['cosine']:.2f}", f"{share:.3f}",
                "" if one.moved is None else f"{one.start or 'no entry'} ({one.moved:.2f})",
            ]
        )  # fmt: skip
    out.print()
    grid(
        ["token", f"nearest of {found.vocabulary:,} {kind}", "cosine", "random", "p", "began at (cosine)"],
        rows, "words near each virtual token",
    )  # fmt: skip
    some = sum(one.is_near for one in found.words)
    out.print(
        f"{some} of {len(found.words)} virtual tokens are nearer to a word than random vectors are (p after Holm's "
        "correction; 'random': half of them come as near). What is near a token is not what the prompt says.",
        markup=False,
    )
    if found.discrete is not None:
        hard = found.discrete.result
        drawn = ", ".join(f"{score:.4f}" for score in found.discrete.random)
        out.print(f"\nthe nearest words in their place: {' '.join(found.discrete.words)}", markup=False)
        out.print(f"{found.metric} {hard.told}; random words there: {drawn}", markup=False)


def _drift(found: Inspection) -> None:
    if not found.moved:
        return
    rows = [
        [one.part, f"{one.before:.3g}", f"{one.after:.3g}", f"{one.distance:.3g}", _number(one.cosine, "{:.3f}")]
        for one in found.moved[:MOST]
    ]
    out.print()
    grid(["part", "length before", "after", "moved by", "cosine"], rows, "drift from where it began")
    if found.course:
        way = ", ".join(
            f"step {one['step']}: {one['distance']:.3g}" for one in found.course[:: -(-len(found.course) // 8)]
        )
        out.print(
            f"all of its numbers moved by, over training (the run may have kept an earlier step): {way}", markup=False
        )


def _ablations(found: Inspection) -> None:
    if found.ablations:
        _table(found)
    if found.idle:
        out.print(f"does nothing on these rows: {', '.join(found.idle)}", markup=False)
    if found.minimal is not None:
        out.print(f"\nminimal prompt: {found.minimal.told}", markup=False)
    if found.minimal_result is not None:
        out.print(f"on the rows above it scores {found.minimal_result.told}", markup=False)


def _table(found: Inspection) -> None:
    low_high = [(one.test.interval.low, one.test.interval.high) for one in found.ablations]
    rows = [
        [
            one.name, f"{one.score:.4f}", f"{one.test.difference:+.4f}", f"[{low:+.4f}, {high:+.4f}]",
            f"{one.loss_change:+.4f}", "" if one.changed is None else str(one.changed),
        ]
        for one, (low, high) in zip(found.ablations, low_high, strict=True)
    ]  # fmt: skip
    out.print()
    title = "without a part of it (the readout stays, nothing is trained again)"
    grid(["without", found.metric, "change", "95% interval", "loss change", "other answers"], rows, title)


def _attention(found: Inspection) -> None:
    if found.shares is None:
        return
    shares = found.shares
    rows = []
    for i, layer in enumerate(shares.layers):
        whole, by_token = shares.whole[i], shares.by_token[i]
        best = int(by_token.argmax())
        rows.append(
            [
                str(layer), f"{float(whole.mean()):.3f}", f"{shares.uniform[i]:.3f}", f"{float(whole.max()):.3f}",
                str(int(whole.argmax())), f"{best} ({float(by_token[best]):.3f})",
            ]
        )  # fmt: skip
    out.print()
    title = f"attention to the prompt, of {shares.queries:,} tokens of text"
    grid(["layer", "share", "if even", "most of a head", "that head", "most to token"], rows, title)


def _effect(found: Inspection) -> None:
    effect = found.effect
    if effect is not None:
        out.print(
            f"\nwith the prompt, the last state of a token moves by {effect.mean:.3f} of its length on the mean "
            f"({effect.tokens:,} tokens)",
            markup=False,
        )
        for title, some in (("most", effect.most), ("least", effect.least)):
            listed = ", ".join(f"{one.token} {one.change:.2f}" for one in some)
            out.print(f"  {title}: {listed}", markup=False)
    if found.changed is not None:
        count, examples = found.changed
        out.print(f"\n{count} of {found.rows} answers are others than without the prompt", markup=False)
        for one in examples:
            text = " | ".join(str(value) for value in one.row.values())
            mark = {True: " (right)", False: " (wrong)", None: ""}[one.right]
            out.print(f"  {one.without} -> {one.with_prompt}{mark}: {text[:110]}", markup=False)


def show_likeness(alike: Likeness) -> None:
    """The two matrices, and what is nearest to what."""
    numbered = [f"{i + 1} {name}" for i, name in enumerate(alike.names)]
    columns = ["", *(str(i + 1) for i in range(len(alike.names)))]
    for title, matrix in (("cosine of what training moved them by", alike.moved), ("cosine of what they are", alike.values)):  # fmt: skip  # noqa: E501
        rows = [[name, *(_number(v, "{:+.3f}") for v in line)] for name, line in zip(numbered, matrix, strict=True)]
        grid(columns, rows, title)
    chance = [value for i, line in enumerate(alike.chance) for value in line[i + 1 :] if value is not None]
    if chance:
        least, most = f"{min(chance):.3f}", f"{max(chance):.3f}"
        out.print(f"two random ones: 0 ± {most if least == most else f'{least} to {most}, by pair'}", markup=False)
    for i, name in enumerate(alike.names):
        nearest = alike.nearest(i)
        if nearest is None:
            out.print(f"{name}: nothing in common with the others", markup=False)
        elif not alike.beyond_chance(i, *nearest):
            out.print(f"{name}: no other is nearer than two random ones may be", markup=False)
        else:
            out.print(f"{name}: nearest is {alike.names[nearest[0]]} ({nearest[1]:+.3f})", markup=False)
    out.print(
        "To choose a start for a new task, train a foreword on it briefly, name it here, and begin with its nearest "
        "(init_from). Likeness is a hint: whether a start helps, a run alone says.",
        markup=False,
    )


def show_ensemble(together: Ensemble) -> None:
    """The members, the ensemble, and its gain."""
    rows = [[name, f"{score:.4f}"] for name, score in zip(together.names, together.members, strict=True)]
    grid(["", "accuracy"], [*rows, ["all as one", f"{together.accuracy:.4f}"]], f"{together.rows} rows, in one pass")
    out.print(f"over the members' mean: {told(together.over_mean)}", markup=False)
    out.print(f"over the best member, chosen on these rows: {told(together.over_best)}", markup=False)
    out.print(f"all agree on {together.agree:.1%} of the rows", markup=False)


def told(test: PairedTest) -> str:
    """A difference with its interval."""
    return f"{test.difference:+.4f} [{test.interval.low:+.4f}, {test.interval.high:+.4f}]"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)

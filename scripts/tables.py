"""The tables of recorded runs in README.md and docs/, from what `foreword compare --json` says.

foreword compare RECORDED --allow-mixed --json; foreword compare results/placement --json
                                                                      the two lines | python scripts/tables.py

`make results` runs it. The second line is of runs that differ in where the prompt stands. A table stands between
`<!-- table: NAME -->` and `<!-- end -->`, and is replaced there.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PAGES = (Path("README.md"), Path("docs/reports.md"), Path("docs/methods/prompt-tuning.md"), Path("docs/laws.md"))
COUNTED = Path("results/laws.json")
"""How often each law was shown to hold, by `make laws`."""
LAWS = (
    "attaching nothing changes nothing; detaching restores the backbone bit for bit",
    "the backbone never changes; declared parameters alone get a gradient, and every one of them does",
    "a batch equals its rows, padded left, right or not at all",
    "a mixed batch equals separate runs",
    "the readout reads the right place under any prompt",
    "generation with a cache equals generation without; beams, sampling and batches work",
    "save and load, resume and the same seed give the same",
    "every fast path equals the slow one, in loss and in gradient",
    "gradient checkpointing gives the same gradient",
    "a subset of layers equals all layers with the others masked",
    "the number of parameters that is announced is the one that is trained and stored",
    "a checkpoint of PEFT gives PEFT's logits here, and ours there",
    "eight examples can be overfitted",
)
KINDS = {
    "read": "a checkpoint of PEFT, read here",
    "write": "a foreword of ours, written for PEFT",
    "compiled": "virtual tokens as key/values",
    "mixed": "checkpoints of PEFT beside others in one batch",
    "float64": "a checkpoint of PEFT read here, both in float64",
}
WRITTEN = {
    "summarization": ("DialogSum", "ROUGE-L"),
    "qa": ("questions on 11 articles of the SQuAD development set", "answer F1"),
    "translation_en_de": ("Multi30k, English to German", "BLEU"),
}
"""Tasks that are answered in words: what the data are, and the metric's name."""
Table = Mapping[str, Any]


def mrpc(table: Table) -> list[str]:
    """A line a recipe, from the least accuracy on test to the largest."""
    lines = ["| recipe | trained | test accuracy | peak memory, MB | seconds |", "|---|---|---|---|---|"]
    shown = [row for row in table["rows"] if row["name"] not in ("random", "hard prompt")]
    for row in sorted(shown, key=lambda row: row["metrics"]["accuracy"]["mean"]):
        found = row["metrics"]["accuracy"]
        values = found["values"].values()
        spread = f" ({min(values):.3f} to {max(values):.3f})" if found["n"] > 1 else ""
        one = " (one seed)" if found["n"] == 1 and row["role"] == "system" else ""
        seconds = "" if row.get("seconds") is None else f"{row.get('seconds'):,.0f}"
        shared = f" ({row.get('together')} in one pass)" if (row.get("together") or 1) > 1 else ""
        memory = "" if row.get("memory") is None else f"{row.get('memory'):,.0f}"
        trained, score = f"{row.get('trained') or 0:,}", f"{found['mean']:.3f}{spread}{one}"
        cells = (row["name"], trained, score, memory, seconds + shared)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def written(tables: Mapping[str, Table]) -> list[str]:
    """Prefix tuning against the best recorded hard prompt, a line a task."""
    lines = [
        "| task | metric | best hard prompt | its score | learned | difference [95%] | p after Holm | share of target "
        "tokens, hard / learned, % | loss, hard / learned |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for task, (name, title) in WRITTEN.items():
        table = tables[task]
        metric = table["metric"]
        rows = {row["name"]: row for row in table["rows"] if row["role"] == "system"}
        hard = _hard(table)
        ours, theirs = _test(rows["p-tuning-v2"]), _test(rows[hard[-1]])
        cells = (
            f"{name}, {table['size']} test rows", title, f"{hard[-1]} (of {len(hard)})", f"{theirs[metric]:.2f}",
            _score(rows["p-tuning-v2"], metric), *_against(table, "p-tuning-v2", hard[-1], 2),
            f"{theirs['target_token_share']:.1f} / {ours['target_token_share']:.1f}",
            f"{theirs['loss']:.2f} / {ours['loss']:.2f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def every(tables: Mapping[str, Table]) -> list[str]:
    """All recorded runs of the tasks that are answered in words."""
    lines = [
        "| task | recipe | trained | score | against the best hard prompt [95%] | p after Holm "
        "| share of target tokens, % | loss | steps in | MB | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for task, (name, title) in WRITTEN.items():
        table = tables[task]
        rows = [row for row in table["rows"] if row["role"] == "system"]
        for row in sorted(rows, key=lambda row: _test(row)[table["metric"]]):
            found = _test(row)
            cells = (
                name, row["name"], f"{row.get('trained') or 0:,}", f"{title} {_score(row, table['metric'])}",
                *_against(table, row["name"], _hard(table)[-1], 2),
                f"{found['target_token_share']:.1f}", f"{found['loss']:.2f}", _steps(row),
                "" if row.get("memory") is None else f"{row.get('memory'):,.0f}",
                "" if not row.get("seconds") else f"{row.get('seconds'):,.0f}",
            )  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def placement(compared: Mapping[str, Any]) -> list[str]:
    """Where twenty virtual tokens stand: before the text, behind it, or half of them each."""
    lines = [
        "| task | placed | score on test | against in front [95%] | p | loss | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for table in sorted(compared["tables"], key=lambda table: table["task"]):
        rows = {row["name"]: row for row in table["rows"] if row["role"] == "system" and row["trained"]}
        for name in sorted(rows, key=lambda name: ("front", "after", "both").index(name.rpartition("-")[2])):
            row, found = rows[name], _test(rows[name])
            score = found[table["metric"]]
            scored = f"accuracy {score:.3f}" if table["metric"] == "accuracy" else f"ROUGE-L {score:.2f}"
            task = f"{table['task']}, {table['size']} rows"
            cells = (
                task, name.rpartition("-")[2], scored, *_against_front(table, name, list(rows)), f"{found['loss']:.3f}",
                f"{row['seconds']:,.0f}",
            )  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _against_front(table: Table, name: str, names: Sequence[str]) -> tuple[str, str]:
    """The difference of a placement from that in front, and p by itself: a task has three pairs at the most."""
    front = next(other for other in names if other.endswith("-front"))
    return _against(table, name, front, 3, p="randomization")


def _against(table: Table, name: str, other: str, digits: int, p: str = "holm") -> tuple[str, str]:
    """One system minus another with its interval, and p; empty where the two were not tested."""
    for one in table["contests"]:
        if {one["first"], one["second"]} == {name, other} and name != other:
            sign = 1 if one["first"] == name else -1
            low, high = sorted((sign * one["low"], sign * one["high"]))
            found = one["bootstrap"] if one[p] is None else one[p]
            difference = f"{sign * one['difference']:+.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
            return difference, "< 0.001" if found < 0.001 else f"{found:.3f}"
    return "", ""


def _hard(table: Table) -> list[str]:
    """The hard prompts of a table, the best on test last."""
    rows = {row["name"]: row for row in table["rows"] if row["role"] == "system" and row["name"].startswith("hard-")}
    return sorted(rows, key=lambda name: _test(rows[name])[table["metric"]])


def _steps(row: Table) -> str:
    """The precision of the layers' products in training; nothing for what is not trained."""
    if not row.get("trained"):
        return ""
    used = {
        json.loads(Path(run["file"]).read_text(encoding="utf-8"))["config"]["training"].get("precision") or "float32"
        for run in row["runs"]
    }
    return ", ".join(sorted(used))


def laws(counted: Mapping[str, Any]) -> list[str]:
    """How many pairs of method and family each law was shown to hold for, and by how much we and PEFT differ."""
    lines = ["| law | | checked | refused by name |", "|---:|---|---:|---:|"]
    for number, what in enumerate(LAWS, 1):
        found = counted["laws"].get(f"law {number}", {"passed": 0, "refused": 0})
        failed = f", {found['failed']} FAILED" if found.get("failed") else ""
        lines.append(f"| {number} | {what} | {found['passed']:,}{failed} | {found['refused']:,} |")
    lines += ["", "| law 12 | largest difference of a logit | of |", "|---|---:|---|"]
    lines += [
        f"| {KINDS.get(kind, kind)} | {one['largest']:.1e} | {one['of']} |"
        for kind, one in counted["differences"].items()
    ]
    return lines


def probing(table: Table) -> list[str]:
    """Knowledge probing: a line a recipe."""
    return _lines(table, (("p_at_1", "P@1"), ("p_at_10", "P@10"), ("mrr", "MRR")))


def tagging(table: Table) -> list[str]:
    """Tagging: a line a recipe."""
    return _lines(table, (("span_f1", "span F1"), ("span_precision", "precision"), ("span_recall", "recall")))


def _lines(table: Table, metrics: Sequence[tuple[str, str]]) -> list[str]:
    titles = " | ".join(title for _, title in metrics)
    lines = [f"| recipe | seeds | trained | {titles} | seconds |", "|---|---:|---:|" + "---:|" * (len(metrics) + 1)]
    for row in table["rows"]:
        if row["role"] == "system":
            found = _test(row)
            scores = " | ".join(f"{found[name]:.4f}" for name, _ in metrics)
            seconds = "" if not row.get("seconds") else f"{row.get('seconds'):,.0f}"
            lines.append(f"| {row['name']} | {len(row['runs'])} | {row.get('trained') or 0:,} | {scores} | {seconds} |")
    return lines


def _score(row: Table, metric: str) -> str:
    """The mean of a metric on test, with its 95% interval over seeds where there are several that did not fail."""
    found = row["metrics"].get(metric)
    if found is None or found["n"] < 2:
        return f"{_test(row)[metric]:.2f}"
    return f"{found['mean']:.2f} [{found['low']:.2f}, {found['high']:.2f}], {found['n']} seeds"


def _test(row: Table) -> dict[str, float]:
    """The test metrics of a row's runs, or of its only one, as means."""
    runs = [run["metrics"] for run in row["runs"]]
    return {name: sum(run[name] for run in runs) / len(runs) for name in runs[0]}


def filled(text: str, made: Mapping[str, list[str]]) -> str:
    """A page with its tables."""
    for name, lines in made.items():
        between = re.compile(rf"(<!-- table: {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        text = between.sub(lambda found, lines=lines: found[1] + "\n".join(lines) + found[2], text)
    return text


def made(compared: Mapping[str, Any], placed: Mapping[str, Any]) -> dict[str, list[str]]:
    """The tables by name."""
    tables = {table["task"]: table for table in compared["tables"]}
    own = {"mrpc": mrpc(tables["mrpc"]), "written": written(tables), "every": every(tables)}
    kinds = {table["kind"]: table for table in compared["tables"]}
    if "knowledge-probing" in kinds:
        own["probing"] = probing(kinds["knowledge-probing"])
    if "tagging" in kinds:
        own["tagging"] = tagging(kinds["tagging"])
    if COUNTED.is_file():
        own["laws"] = laws(json.loads(COUNTED.read_text(encoding="utf-8")))
    return {**own, "placement": placement(placed)}


def main() -> None:
    tables = made(*map(json.loads, sys.stdin.read().splitlines()))
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8"), tables), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The ready spaces of recipes/search/: every value of every one is a value of the method's settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from foreword import registry
from foreword.sweep.space import label, parse
from foreword.sweep.spec import load

ROOT = Path(__file__).resolve().parents[2]
EVERY = sorted((ROOT / "recipes" / "search").glob("*.yaml"))
FILES = [path for path in EVERY if "recipe" not in yaml.safe_load(path.read_text())]
METHODS = {"prefix-projection": "p-tuning-v2", "compacter": "adapter"}
PARTS = [{"name": "p-tuning-v2"}, {"name": "lora"}]


def test_every_method_that_learns_has_a_space() -> None:
    named = {METHODS.get(path.stem, path.stem) for path in FILES}
    assert named == set(registry.methods.names) - {"hard"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_ready_space_fits_the_settings(path: Path, tmp_path: Path) -> None:
    method: dict[str, object] = {"name": METHODS.get(path.stem, path.stem)}
    if path.stem == "combined":
        method["parts"] = PARTS
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"data": "mrpc", "backbone": "minilm-l6", "method": method}))
    sweep = load(recipe, path)
    assert len(sweep.trials) == len({label(dict(trial.values)) for trial in sweep.trials}) > 1
    grid = load(recipe, path, search={"kind": "grid", "trials": 200}).trials
    for name, values in parse(yaml.safe_load(path.read_text())["space"]).fields.items():
        tried = {label(trial.values[name]) for trial in grid}
        assert tried <= {label(value) for value in values.points(name)}
    assert path.read_text().startswith("# "), "where the values come from"


def method_of(recipe: Path) -> str | None:
    method = yaml.safe_load(recipe.read_text()).get("method")
    return method["name"] if isinstance(method, dict) else method


LEARNING = [path for path in sorted((ROOT / "recipes").glob("*/*.yaml")) if method_of(path) not in (None, "hard")]


@pytest.mark.parametrize("recipe", LEARNING, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_recipe_can_be_swept_over_the_space_of_its_method(recipe: Path) -> None:
    spaces = [path for path in FILES if METHODS.get(path.stem, path.stem) == method_of(recipe)]
    assert spaces and all(len(load(recipe, path).trials) > 1 for path in spaces)


@pytest.mark.parametrize("path", sorted({*EVERY} - {*FILES}), ids=lambda path: path.stem)
def test_a_whole_sweep_is_made_of_runs(path: Path) -> None:
    assert len(load(path).trials) > 1

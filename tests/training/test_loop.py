"""The loop: schedules, early stopping, the best parameters, checkpoints, stops."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch
from safetensors.torch import save_file

from foreword.errors import ArtifactError, ConfigError, ForewordError, Interrupted
from foreword.training import checkpoint
from foreword.training.checkpoint import Progress, State
from foreword.training.loop import Loop, Silent, schedule_of
from support.backbones import shared
from support.forewords import ROWS, items, make, same


def loop_of(method="linear-probe", validation=4, folder=None, reporter=None, **settings) -> Loop:
    assembly = make("bert", method, "last", backbone=shared("bert"), **{"batch_size": 3, **settings})
    rows = items(assembly)
    return Loop(assembly, rows, rows[:validation], folder, reporter, run="r")


@pytest.mark.parametrize(
    ("settings", "rows", "expected"),
    [
        ({"epochs": 2, "batch_size": 3}, 8, (3, 6, 3)),
        ({"epochs": 0.5, "batch_size": 3}, 8, (3, 2, 3)),
        ({"epochs": 0.01, "batch_size": 3}, 8, (3, 1, 3)),
        ({"epochs": 2, "batch_size": 100}, 8, (1, 2, 1)),
        ({"epochs": 2, "batch_size": 3, "max_steps": 4}, 8, (3, 4, 3)),
        ({"epochs": 2, "batch_size": 3, "max_steps": 40, "evaluate_every": 2}, 8, (3, 6, 2)),
    ],
)
def test_how_long_a_run_is(settings, rows, expected):
    found = schedule_of(make("bert", "linear-probe", "last", backbone=shared("bert"), **settings), rows)
    assert (found.steps_per_epoch, found.steps, found.evaluate_every) == expected


def test_a_run_takes_its_steps_evaluates_and_says_so(tmp_path):
    said = []

    class Listener(Silent):
        def step(self, done, steps, loss):
            said.append(("step", done, steps))

        def kept(self, done: int, rows: int) -> None: ...

        def evaluated(self, step, metrics):
            said.append(("evaluated", step))

    loop = loop_of(epochs=2, evaluate_every=4, reporter=Listener())
    progress = loop.run()
    assert [one for one in said if one[0] == "step"] == [("step", n, 6) for n in range(1, 7)]
    assert [one[1] for one in said if one[0] == "evaluated"] == [4, 6]
    assert [point["step"] for point in progress.curve] == [4, 6]
    assert progress.done and progress.step == 6 and not progress.stopped_early and progress.seconds > 0
    assert {"step", "loss", "validation.accuracy", "validation.loss"} <= progress.curve[0].keys()


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_the_best_parameters_are_those_left_in_place(metric):
    loop = loop_of(
        epochs=6, evaluate_every=1, learning_rate=1.0, schedule="constant", metric=metric, max_grad_norm=None
    )
    kept = []
    original = loop._evaluate

    def noting():
        original()
        kept.append(loop._copy())

    loop._evaluate = noting
    progress = loop.run()
    curve = [point[f"validation.{metric}"] for point in progress.curve]
    best = max(curve) if metric == "accuracy" else min(curve)
    assert progress.best == best
    first = curve.index(best)
    assert progress.best_step == first + 1
    same(loop._copy(), kept[first])
    assert loop.evaluate(loop.validation).metrics[metric] == pytest.approx(best)


def test_the_curve_has_the_mean_loss_since_the_last_evaluation():
    entries = []
    loop = loop_of(epochs=2, evaluate_every=3)
    loop.log = entries.append
    progress = loop.run()
    losses = [entry["loss"] for entry in entries if "loss" in entry]
    assert len(losses) == 6
    assert [point["loss"] for point in progress.curve] == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:]) / 3])


def test_early_stopping_waits_as_long_as_it_is_told():
    loop = loop_of(epochs=100, evaluate_every=1, learning_rate=1e-12, patience=3)
    progress = loop.run()
    assert progress.stopped_early and progress.done
    assert progress.step == 4 and progress.best_step == 1 and progress.stale == 3


def test_without_validation_the_last_parameters_count(tmp_path):
    loop = loop_of(validation=0, epochs=2, folder=tmp_path)
    start = loop._copy()
    progress = loop.run()
    assert progress.curve == [] and progress.best is None and progress.best_step == 6
    assert not torch.equal(start["readout.weight"], loop._copy()["readout.weight"])


def test_what_cannot_work_is_refused_before_the_first_step():
    with pytest.raises(ConfigError, match="unknown metric 'acuracy'"):
        loop_of(metric="acuracy")
    with pytest.raises(ConfigError, match="early stopping needs validation"):
        loop_of(validation=0, patience=2)


def test_a_loss_that_is_not_finite_stops_the_run_in_words():
    loop = loop_of(epochs=2)
    with torch.no_grad():
        loop.assembly.readout.weight.fill_(float("nan"))
    with pytest.raises(ForewordError, match="loss is nan at step 1"):
        loop.run()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_step_and_saves(tmp_path, number):
    class Caller(Silent):
        def step(self, done, steps, loss):
            if done == 2:
                os.kill(os.getpid(), number)

    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    loop = loop_of("prompt-text", epochs=3, folder=tmp_path, reporter=Caller())
    with pytest.raises(Interrupted, match="after step 2 of 9"):
        loop.run()
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    again, whole = loop_of("prompt-text", epochs=3, folder=tmp_path), loop_of("prompt-text", epochs=3)
    assert again.run(resume=True).step == 9
    whole.run()
    same(again._copy(), whole._copy())


def test_the_gradient_norm_is_bounded():
    loop = loop_of("prompt-random", max_grad_norm=1e-3, epochs=1)
    loop.end(loop.backward(loop.begin()))
    norm = torch.stack([p.grad.norm() for p in loop.trained.values()]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)


def test_evaluation_is_without_dropout_and_training_with_it():
    assembly = make("bert", "linear-probe", {"name": "linear", "dropout": 0.5}, backbone=shared("bert"))
    rows = items(assembly)
    loop = Loop(assembly, rows, rows)
    assert torch.equal(*(loop.evaluate(rows).probabilities for _ in range(2)))
    assembly.readout.train()
    assert loop.backward(rows) != loop.backward(rows)


# -- checkpoints ----------------------------------------------------------------------------------------------------


def state() -> State:
    return State(
        {"a": torch.arange(3.0)},
        {"a": torch.ones(3)},
        {"0.step": torch.tensor(2.0)},
        torch.get_rng_state(),
        Progress(step=3, best=0.5, curve=[{"step": 1, "loss": 0.25}]),
    )


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    path, one = tmp_path / "deep" / "checkpoint.safetensors", state()
    checkpoint.save(path, one, "r")
    checkpoint.save(path, one, "r")
    found = checkpoint.load(path, "r")
    for group in ("now", "best", "optimizer"):
        same(getattr(found, group), getattr(one, group))
    assert torch.equal(found.generator, one.generator) and found.progress == one.progress
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_broken_and_foreign_checkpoints_are_refused_in_words(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.save(path, state(), "r")
    whole = path.read_bytes()
    progress = json.dumps(vars(Progress()))
    broken = {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "no header": b"\x00" * 64,
        "text": b"not a checkpoint at all, but longer than a header",
    }
    for name, content in broken.items():
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="broken"):
            checkpoint.load(path, "r")
            pytest.fail(name)
    foreign = [
        None,
        {"run": "r"},
        {"run": "r", "progress": "{"},
        {"run": "r", "progress": "[]"},
        {"run": "r", "progress": '{"unknown": 1}'},
        {"run": "r", "progress": progress},  # and no random state in it
    ]
    for header in foreign:
        save_file({"x": torch.zeros(1)}, path, header)
        with pytest.raises(ArtifactError):
            checkpoint.load(path, "r")
    with pytest.raises(ArtifactError):
        checkpoint.load(tmp_path / "nowhere.safetensors", "r")
    path.write_bytes(whole)
    with pytest.raises(ArtifactError, match="other settings"):
        checkpoint.load(path, "another")


def test_a_checkpoint_of_other_parameters_is_refused(tmp_path):
    """Same identity, other names or shapes: nothing may be half-loaded, and no bare stack trace."""
    loop_of("prompt-text", folder=tmp_path, epochs=1).run()
    other = loop_of("v2-random", folder=tmp_path, epochs=1)
    before = other._copy()
    with pytest.raises(ArtifactError):
        other.run(resume=True)
    same(other._copy(), before)


def test_a_folder_that_cannot_be_written_is_told_in_words(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ArtifactError, match="cannot write"):
        checkpoint.save(blocked / "checkpoint.safetensors", state(), "r")


def test_rows_are_all_used_when_they_are_fewer_than_a_batch():
    loop = loop_of(batch_size=100, epochs=1)
    assert loop.run().step == 1 and len(loop.train_items) == len(ROWS)

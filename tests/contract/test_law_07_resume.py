"""Law 7, in training: resume equals an uninterrupted run, and the same seed gives the same run."""

from __future__ import annotations

import pytest
import torch

from foreword.errors import ArtifactError
from foreword.training.loop import Loop, Silent
from support.backbones import shared
from support.forewords import ROWS, grid, items, make, same

METHODS = (
    "linear-probe", "full", "prompt-text", "p-tuning-mlp", "p-tuning-dropout", "v2-random", "v2-projection", "lora-all",
    "adapter-houlsby", "compacter", "combined",
)  # fmt: skip
SETTINGS = {"epochs": 4, "batch_size": 3, "evaluate_every": 2, "learning_rate": 0.02, "warmup": 0.2}
DROPPING = {"name": "linear", "position": "last", "dropout": 0.3}


class Killed(Exception):
    pass


class Killer(Silent):
    """Raises after a number of steps, as a kill does: whatever was not saved by then is lost."""

    def __init__(self, after: int) -> None:
        self.after = after

    def step(self, done: int, steps: int, loss: float) -> None:
        if done == self.after:
            raise Killed


def loop_of(family, method, folder=None, reporter=None, log=None, run="r", **changes) -> Loop:
    assembly = make(family, method, DROPPING, backbone=shared(family), **{**SETTINGS, **changes})
    rows = items(assembly)
    return Loop(assembly, rows, rows[:4], folder, reporter, log or (lambda record: None), run)


def parameters(loop: Loop) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in loop.trained.items()}


def scrambled(*loops: Loop) -> None:
    """Another process would not have this one's random state, nor its first values."""
    torch.manual_seed(987)
    with torch.no_grad():
        for loop in loops:
            for value in loop.trained.values():
                value.add_(1.0)


def resumed_equals_whole(tmp_path, family, method, killed_after, **changes):
    whole = loop_of(family, method, tmp_path / "whole", **changes)
    whole.run()
    broken = loop_of(family, method, tmp_path / "broken", Killer(killed_after), **changes)
    with pytest.raises(Killed):
        broken.run()
    again = loop_of(family, method, tmp_path / "broken", **changes)
    scrambled(again)
    losses = []
    again.log = lambda record: losses.append(record.get("loss"))
    progress = again.run(resume=True)
    assert len([loss for loss in losses if loss is not None]) < whole.schedule.steps
    same(parameters(again), parameters(whole))
    same(again.best, whole.best)
    assert progress.curve == whole.progress.curve
    assert (progress.best, progress.best_step, progress.stale) == (
        whole.progress.best, whole.progress.best_step, whole.progress.stale,
    )  # fmt: skip


@pytest.mark.parametrize("killed_after", [3, 9])
@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
@pytest.mark.parametrize("method", ["linear-probe", "p-tuning-dropout", "v2-random"])
def test_resume_equals_an_uninterrupted_run(tmp_path, method, optimizer, killed_after, law):
    resumed_equals_whole(tmp_path, "bert", method, killed_after, optimizer=optimizer)
    law(7)


@pytest.mark.parametrize(
    ("family", "method"),
    [
        *grid(("full", "prompt-text", "p-tuning-mlp", "v2-projection"), ("llama", "roberta")),
        ("opt-projected", "v2-random"),
        ("bert", "lora-all"),
        ("llama", "adapter-houlsby"),
        ("bert", "compacter"),
        ("gpt2", "combined"),
        ("t5", "v2-random"),
        ("bart", "combined"),
    ],
)
def test_resume_on_other_families(tmp_path, family, method, law):
    resumed_equals_whole(tmp_path, family, method, 7)
    law(7)


@pytest.mark.parametrize("every", [1, 5])
def test_resume_from_checkpoints_between_evaluations_and_epochs(tmp_path, every, law):
    resumed_equals_whole(tmp_path, "gpt2", "v2-random", 6, checkpoint_every=every, evaluate_every=4)
    resumed_equals_whole(tmp_path / "p", "bert", "prompt-text", 6, checkpoint_every=every, patience=2)
    law(7)


def test_resume_in_pieces(tmp_path, law):
    resumed_equals_whole(tmp_path, "bert", "p-tuning-dropout", 5, max_tokens=16)
    law(7)


def test_resume_of_a_finished_run_does_nothing_and_keeps_the_best(tmp_path, law):
    loop = loop_of("bert", "v2-random", tmp_path)
    loop.run()
    again = loop_of("bert", "v2-random", tmp_path)
    scrambled(again)
    said = []
    again.log = said.append
    assert again.run(resume=True).done
    assert not said
    same(parameters(again), parameters(loop))
    law(7)


def test_without_resume_an_old_checkpoint_means_nothing(tmp_path):
    first, second = (loop_of("bert", "prompt-text", tmp_path) for _ in range(2))
    first.run()
    second.run(resume=False)
    same(parameters(first), parameters(second))


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    loop_of("bert", "prompt-text", tmp_path, run="a").run()
    with pytest.raises(ArtifactError, match="other settings"):
        loop_of("bert", "prompt-text", tmp_path, run="b").run(resume=True)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_run_and_another_gives_another(method, law):
    runs = []
    for seed in (1, 1, 2):
        loop = loop_of("gpt2", method, seed=seed)
        torch.rand(3)  # what went before in the process must not matter
        losses = []
        loop.log = lambda record, losses=losses: losses.append(record.get("loss"))
        loop.run()
        runs.append((losses, parameters(loop)))
    assert runs[0][0] == runs[1][0]
    same(runs[0][1], runs[1][1])
    assert runs[0][0] != runs[2][0]
    assert any(not torch.equal(runs[0][1][name], runs[2][1][name]) for name in runs[0][1])
    law(7)


def test_the_rows_that_are_trained_on_come_in_another_order_each_epoch():
    loop = loop_of("bert", "linear-probe")
    seen = []
    original = loop.share

    def noting(chosen):
        seen.append(tuple(loop.train_items.index(item) for item in chosen))
        return original(chosen)

    loop.share = noting
    loop.run()
    per_epoch = loop.schedule.steps_per_epoch
    epochs = [seen[i : i + per_epoch] for i in range(0, len(seen), per_epoch)]
    assert len(epochs) == 4
    assert all(sorted(i for batch in epoch for i in batch) == list(range(len(ROWS))) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1

"""The one training loop.

Every step: compile the method once, run the batch through the bank, push the gradients back. The backbone stays in
eval mode and takes no gradient. Everything that the next step depends on is in the checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from foreword.assembly import Assembly
from foreword.bank import Bank
from foreword.batch import Item
from foreword.config import TrainingConfig
from foreword.errors import ArtifactError, ConfigError, ForewordError, Interrupted, did_you_mean
from foreword.evaluation.measuring import evaluate
from foreword.evaluation.metrics import METRICS, defined
from foreword.evaluation.scoring import GROUP, Scored
from foreword.tasks.base import Task
from foreword.training import checkpoint
from foreword.training.batching import epoch_batches
from foreword.training.checkpoint import Progress, State
from foreword.training.compiling import compiled
from foreword.training.gradient import Share, backward
from foreword.training.optim import make_optimizer, set_rate
from foreword.training.route import WHOLE, Route
from foreword.training.stopping import asked

OWNER = "run"


class Reporter(Protocol):
    """Who is told how the run goes: a progress bar, or nobody."""

    def step(self, done: int, steps: int, loss: float) -> None:
        """A step is done, of `steps` in all."""

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        """The validation rows were scored."""

    def kept(self, done: int, rows: int) -> None:
        """What the frozen layers give is kept for `done` of so many rows."""


class Silent:
    """A reporter that says nothing."""

    def step(self, done: int, steps: int, loss: float) -> None:
        """A step is done, of `steps` in all."""

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        """The validation rows were scored."""

    def kept(self, done: int, rows: int) -> None:
        """What the frozen layers give is kept for `done` of so many rows."""


@dataclass(frozen=True)
class Schedule:
    """How long a run is: rows, steps an epoch, steps in all, and how often it is evaluated."""

    rows: int
    steps_per_epoch: int
    steps: int
    evaluate_every: int


def schedule_of(assembly: Assembly, rows: int) -> Schedule:
    """The schedule that the settings and the number of training rows give."""
    return schedule_for(assembly.config.training, rows)


def schedule_for(config: TrainingConfig, rows: int) -> Schedule:
    """As `schedule_of`, of the settings alone."""
    per_epoch = math.ceil(rows / config.batch_size)
    steps = max(1, math.ceil(config.epochs * per_epoch))
    steps = min(steps, config.max_steps or steps)
    return Schedule(rows, per_epoch, steps, config.evaluate_every or per_epoch)


def check_training(config: TrainingConfig, task: Task, validated: bool, classes: int) -> None:
    """**Raises** `ConfigError` for what the task or the data does not have: a metric, validation rows, pairs."""
    measured = {"class": defined(task.metrics, classes), "text": ()}.get(task.answer, task.metrics)
    known = {*measured, "loss"}
    metric = config.metric or task.selects_by
    if task.answer == "text" and metric != "loss":
        raise ConfigError(
            f"training.metric: {metric}; while a run for {task.name} is trained, its loss alone is measured",
            do="leave training.metric out; the texts are written and scored when the run ends",
        )
    if metric in task.metrics and metric not in known:
        raise ConfigError(
            f"training.metric: {metric} is for two classes, and there are {classes}",
            do="set training.metric: macro_f1",
        )
    if metric not in known:
        raise ConfigError(f"training.metric: unknown metric '{metric}'", do=did_you_mean(metric, known))
    if config.patience is not None and not validated:
        raise ConfigError("early stopping needs validation rows, and there are none", do="take out training.patience")
    if config.swap_pairs and (len(task.fields) != 2 or task.answer != "class"):
        raise ConfigError(f"training.swap_pairs is for classes of two like texts, which {task.name} does not have")


def metric_of(assembly: Assembly) -> str:
    """What the run's best step is chosen by."""
    return assembly.config.training.metric or assembly.reader.task.selects_by


class Loop:
    """One run's training.

    **Arguments:** the parts to train; items of train and validation (which may be empty); `folder` for checkpoints, or
    None to keep nothing; `log` is given one record a step and an evaluation. `swapped`: the same training items with
    their two texts in the other order, where the settings ask for it (`swap_pairs`). All items are as `route` has them.
    """

    def __init__(
        self,
        assembly: Assembly,
        train: Sequence[Item],
        validation: Sequence[Item],
        folder: Path | None = None,
        reporter: Reporter | None = None,
        log: Callable[[dict[str, Any]], None] = lambda record: None,
        run: str = "",
        swapped: Sequence[Item] = (),
        route: Route = WHOLE,
    ) -> None:
        self.assembly, self.train_items, self.validation = assembly, train, validation
        self.swapped, self.route = swapped, route
        self.config, self.metric = assembly.config.training, metric_of(assembly)
        self.folder, self.reporter, self.log, self.run_id = folder, reporter or Silent(), log, run
        self.trained: dict[str, torch.nn.Parameter] = assembly.trained()
        self.schedule = schedule_of(assembly, len(train))
        self.optimizer = make_optimizer(self.config, self.trained)
        self.progress = Progress()
        self.best = self._copy()
        self.bank = Bank(assembly.backbone)
        self._generator = torch.Generator().manual_seed(assembly.config.seed).get_state()
        self._started = time.perf_counter()
        self.failure: ForewordError | None = None
        self.pause_at: int | None = None
        check_training(self.config, assembly.reader.task, bool(validation), len(assembly.reader.labels))

    @property
    def checkpoint(self) -> Path | None:
        """Where the run's state is kept, if it is."""
        return None if self.folder is None else self.folder / "checkpoint.safetensors"

    def run(self, resume: bool = False) -> Progress:
        """Train to the end, to an early stop, or to an interrupt, and put the best parameters in place.

        **Raises** `Interrupted` after saving; `ForewordError` when the loss is not finite.
        """
        return run_together([self], resume)[0]

    def prepare(self, resume: bool) -> None:
        """Set the clock, and go back to the last checkpoint where asked and there is one."""
        if resume and self.checkpoint is not None and self.checkpoint.exists():
            self._restore(checkpoint.load(self.checkpoint, self.run_id))
        self._started = time.perf_counter() - self.progress.seconds

    @property
    def active(self) -> bool:
        """Whether there is another step to do: the run is neither done nor at the step where it pauses."""
        return not self.progress.done and (self.pause_at is None or self.progress.step < self.pause_at)

    def finish(self) -> None:
        """Put the best parameters in place. A run that pauses is saved first, and goes on from there when resumed."""
        if not self.progress.done:
            self._save()
        self._load(self.best)

    # -- one step -----------------------------------------------------------------------------------------------

    def begin(self) -> list[Item]:
        """The next step's items, with the rate set and no gradient left."""
        step = self.progress.step
        epoch, at = divmod(step, self.schedule.steps_per_epoch)
        if at == 0 or not hasattr(self, "_batches"):
            lengths = [item.tokens for item in self.train_items]
            self._batches = epoch_batches(lengths, self.config.batch_size, self.assembly.config.seed, epoch)
        self.assembly.method.train()
        self.assembly.readout.train()
        set_rate(self.optimizer, self.config, step, self.schedule.steps)
        self.optimizer.zero_grad(set_to_none=True)
        return [self._item(i, epoch) for i in self._batches[at]]

    def end(self, loss: float) -> None:
        """Go the step that the gradients say, and do what is due after it."""
        progress = self.progress
        if not math.isfinite(loss):
            raise ForewordError(
                f"the loss is {loss} at step {progress.step + 1}",
                do=f"lower training.learning_rate (now {self.config.learning_rate}), or set training.max_grad_norm",
            )
        if self.config.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.trained.values(), self.config.max_grad_norm)
        self.optimizer.step()
        progress.step += 1
        progress.seconds = time.perf_counter() - self._started
        self.reporter.step(progress.step, self.schedule.steps, loss)
        self._after_step(loss)
        progress.seconds = time.perf_counter() - self._started

    def interrupted(self) -> Interrupted:
        """Save, and say how to go on."""
        self._save()
        kept = "the run is saved" if self.folder else "nothing is kept, as the run has no folder"
        return Interrupted(
            f"stopped after step {self.progress.step} of {self.schedule.steps}; {kept}",
            where=str(self.folder) if self.folder else None,
            do="go on with the same command and --resume" if self.folder else None,
        )

    def _item(self, index: int, epoch: int) -> Item:
        """The item, or its twin in the other order: one half of them in even epochs, the other half in odd ones."""
        return self.swapped[index] if self.swapped and (index + epoch) % 2 else self.train_items[index]

    def backward(self, items: Sequence[Item]) -> float:
        """Gradients of the mean loss over `items`; the loss."""
        return backward(self.bank, [self.share(items)], self.config.max_tokens)[0]

    def share(self, items: Sequence[Item]) -> Share:
        """This run's part of a step on `items`, its method compiled."""
        with self._random():
            injection = self.route.compiled(self.assembly.backbone, self.assembly.method.compiled())
        owner, precision = items[0].owner or OWNER, self.config.precision
        return Share(owner, injection, self.assembly.readout, items, self._random, precision)

    @contextmanager
    def _random(self) -> Iterator[None]:
        """The run's own random numbers, whatever else runs beside it."""
        outside = torch.get_rng_state()
        torch.set_rng_state(self._generator)
        try:
            yield
        finally:
            self._generator = torch.get_rng_state()
            torch.set_rng_state(outside)

    # -- between steps ------------------------------------------------------------------------------------------

    def _after_step(self, loss: float) -> None:
        step, last = self.progress.step, self.progress.step >= self.schedule.steps
        self.progress.losses.append(loss)
        self.log({"step": step, "loss": loss, "rate": self.optimizer.param_groups[0]["lr"]})
        evaluated = last or step % self.schedule.evaluate_every == 0
        if evaluated:
            self._evaluate()
        every = self.config.checkpoint_every
        self.progress.done = last or self.progress.stopped_early
        if self.progress.done or (step % every == 0 if every else evaluated):
            self._save()

    def _evaluate(self) -> None:
        progress = self.progress
        loss = sum(progress.losses) / len(progress.losses)
        progress.losses = []
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.trained.values()):
            raise ForewordError(
                f"the trained parameters are not finite after step {progress.step}",
                do=f"lower training.learning_rate (now {self.config.learning_rate})",
            )
        if not self.validation:
            self.best, progress.best_step = self._copy(), progress.step
            return
        measured = self.evaluate(self.validation).metrics
        score = measured[self.metric]
        progress.curve.append(
            {"step": progress.step, "loss": loss, **{f"validation.{k}": v for k, v in measured.items()}}
        )
        higher = METRICS[self.metric].higher_is_better
        if progress.best is None or (score > progress.best if higher else score < progress.best):
            progress.best, progress.best_step, progress.stale = score, progress.step, 0
            self.best = self._copy()
        else:
            progress.stale += 1
        progress.stopped_early = self.config.patience is not None and progress.stale >= self.config.patience
        self.log({"step": progress.step, "validation": measured})
        self.reporter.evaluated(progress.step, measured)

    def evaluate(self, items: Sequence[Item]) -> Scored:
        """Score items with the parameters as they are."""
        self.assembly.readout.eval()
        with torch.no_grad():  # the front, too, is run without dropout
            injection = self.route.compiled(self.assembly.backbone, self.assembly.method.at_rest())
        self.bank.put(items[0].owner or OWNER, injection, self.assembly.readout)
        reader = self.assembly.reader
        return evaluate(self.bank, items, reader.task, reader.labels, self.config.max_tokens, quick=True)

    # -- state --------------------------------------------------------------------------------------------------

    def _copy(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.trained.items()}

    @torch.no_grad()
    def _load(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self.trained.items():
            parameter.copy_(values[name])

    def _save(self) -> None:
        if self.checkpoint is not None:
            tensors = checkpoint.optimizer_tensors(self.optimizer)
            state = State(self._copy(), self.best, tensors, self._generator, self.progress)
            checkpoint.save(self.checkpoint, state, self.run_id)

    def _restore(self, state: State) -> None:
        shapes = {name: parameter.shape for name, parameter in self.trained.items()}
        for saved in (state.now, state.best):
            if {name: tensor.shape for name, tensor in saved.items()} != shapes:
                raise ArtifactError(
                    "the checkpoint holds other parameters than this run trains",
                    where=str(self.checkpoint),
                    do="start anew with --overwrite",
                )
        self._load(dict(state.now))
        self.best, self.progress = dict(state.best), state.progress
        checkpoint.restore_optimizer(self.optimizer, state.optimizer)
        self._generator = state.generator
        if hasattr(self, "_batches"):
            del self._batches


def run_together(loops: Sequence[Loop], resume: bool = False) -> list[Progress]:
    """Train several runs on one backbone, a step of each in one pass, each to its own end; the results of runs alone.

    The items of each name another owner. A run that cannot go on (its loss is not finite) leaves its error in
    `failure`, and the others go on. One with `pause_at` pauses at that step, with its best parameters in place.

    **Raises** `Interrupted`, with all runs saved; and for one run alone, what stopped it.
    """
    for loop in loops:
        loop.prepare(resume)
    with compiled(next((o.bank.backbone for o in loops if o.config.compile), None)), asked() as asked_to_stop:
        while active := [loop for loop in loops if loop.active]:
            step_together(active)
            if len(loops) == 1 and loops[0].failure is not None:
                raise loops[0].failure
            if asked_to_stop() and (going := [loop for loop in loops if loop.failure is None]):
                stops = [loop.interrupted() for loop in going]  # after the last step, too: scoring may take long
                where = ", ".join(one.where for one in stops if one.where)
                raise Interrupted(stops[0].what, where=where or None, do=stops[0].do)
    for loop in loops:
        if loop.failure is None:
            loop.finish()
    return [loop.progress for loop in loops]


def step_together(loops: Sequence[Loop]) -> list[float]:
    """One step of each run, in one pass; their losses.

    Rows of one length share a pass, whatever their run, if it is of one precision. A readout with dropout draws for its
    rows in their order, and dropout at sites for the batch, so a run with either takes a pass of its own.
    """
    shares = [loop.share(loop.begin()) for loop in loops]
    drawing = [share for share in shares if getattr(share.readout, "dropout", 0) or share.injection.random]
    joint = [share for share in shares if len(shares) > 1 and share not in drawing]
    kinds = [[share for share in joint if share.precision == kind] for kind in ("float32", "bfloat16")]
    alone = [share for share in shares if share not in joint]
    found: dict[str, float] = {}
    budget = max(loop.config.max_tokens for loop in loops)
    for group, size in (*((kind, GROUP) for kind in kinds), *(([share], None) for share in alone)):
        if group:
            losses = backward(loops[0].bank, group, budget, size)
            found |= {share.owner: loss for share, loss in zip(group, losses, strict=True)}
    for loop, share in zip(loops, shares, strict=True):
        try:
            loop.end(found[share.owner])
        except ForewordError as error:
            loop.failure, loop.progress.done = error, True
    return [found[share.owner] for share in shares]

"""The loop of a training: steps, logs, validations, states."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle
from paddle import nn

from quantizers.errors import ConfigError, NonFiniteError

from ..training import Distillation, freeze_batch_norms
from ..training.ranks import rank, ranks
from ..util.extras import import_extra
from .build import Setup
from .checkpoints import Progress, load_training, save_best, save_training
from .evaluate import evaluate
from .order import batches_from

__all__ = ["TrainOptions", "train"]

KEEP = 5


@dataclass(frozen=True)
class TrainOptions:
    """How a training is run.

    Args:
        save_dir: folder of the states.
        save_interval: iterations between states, and between validations with ``do_eval``.
        log_iters: iterations between lines of the log.
        do_eval: validate, and keep the best state.
        resume: an ``iter_N`` folder to go on from.
        num_workers: processes that read data.
        use_vdl: write a log for VisualDL (extra ``train``).
        freeze: share of the iterations after which statistics of batch norms stay.
        distill: arguments of `Distillation`, with a teacher.
    """

    save_dir: str = "output"
    save_interval: int = 1000
    log_iters: int = 10
    do_eval: bool = False
    resume: str | None = None
    num_workers: int = 0
    use_vdl: bool = False
    freeze: float = 1.0
    distill: dict[str, Any] | None = None
    keep: int = KEEP


def train(
    setup: Setup, model: nn.Layer, options: TrainOptions, teacher: nn.Layer | None = None, say: Callable[[str], None] = print
) -> Progress:
    """Trains a model to the end of its iterations, from the beginning or from a state.

    Whatever is random depends on the seed and the iteration alone, so a training that is resumed ends in the same state bit for bit.

    Args:
        setup: data, loss, optimizer and schedule.
        model: float, or prepared for training.
        options: see there.
        teacher: the float net, for ``options.distill``.
        say: takes the lines of the log.

    Raises:
        NonFiniteError: the loss is NaN or Inf.
        ConfigError: there are no iterations, or outputs and labels do not fit.
        ArtifactError: a state cannot be read or written.
        CalibrationError: the data has labels beyond the classes.
    """
    if setup.iters < 1 or setup.batch_size < 1:
        raise ConfigError(f"iters and batch_size must be at least 1, got {setup.iters} and {setup.batch_size}")
    run = _Run(setup, model, options, teacher, say)
    return run.to_the_end()


class _Run:
    def __init__(self, setup: Setup, model: nn.Layer, options: TrainOptions, teacher: nn.Layer | None, say: Callable[[str], None]) -> None:
        self.setup, self.model, self.options = setup, model, options
        self.say = say if rank() == 0 else lambda _: None
        self.folder = Path(options.save_dir)
        self.optimizer, self.schedule = setup.optimizer(model.parameters())
        self.losses = setup.losses()
        self.progress = Progress() if options.resume is None else load_training(options.resume, model, self.optimizer)
        self.parallel = paddle.DataParallel(model, find_unused_parameters=True) if ranks() > 1 else model
        self.distill = None
        if options.distill is not None:
            if teacher is None:
                raise ConfigError("distill needs a teacher, the float net")
            self.distill = Distillation(self.parallel, teacher, axis=1, **options.distill)
        self.log = _visual_log(options, self.folder) if options.use_vdl and rank() == 0 else None

    def to_the_end(self) -> Progress:
        """All iterations that are left."""
        first, last, options = self.progress.iteration, self.setup.iters, self.options
        batches = batches_from(self.setup.train_dataset, self.setup.batch_size, self.setup.seed, first, last, options.num_workers)
        total, count, begun = 0.0, 0, time.perf_counter()
        for iteration, batch in zip(range(first, last), batches, strict=True):
            total, count = total + self._step(iteration, batch), count + 1
            done = self.progress.iteration = iteration + 1
            if done % options.log_iters == 0 or done == last:
                self._tell(done, total / count, (time.perf_counter() - begun) / count)
                total, count, begun = 0.0, 0, time.perf_counter()
            if done % options.save_interval == 0 or done == last:
                self._pause(done)
                begun = time.perf_counter()
        return self.progress

    def _step(self, iteration: int, batch: Any) -> float:
        self.model.train()
        if iteration >= self.options.freeze * self.setup.iters:
            freeze_batch_norms(self.model)
        paddle.seed(self.setup.seed + iteration)  # of dropout and the like
        x, labels = batch[0], batch[1]
        if self.distill is not None:
            _, loss = self.distill(x, labels=labels, label_loss=self.losses)
        else:
            loss = self.losses(self.parallel(x), labels)
        value = float(loss)
        if not math.isfinite(value):
            raise NonFiniteError(
                f"iteration {iteration}: the loss is {value}; train with a smaller learning rate than {self.optimizer.get_lr():g}, from an "
                "earlier state"
            )
        loss.backward()
        self.optimizer.step()
        self.optimizer.clear_grad()
        if isinstance(self.schedule, paddle.optimizer.lr.LRScheduler):
            self.schedule.step()
        return value

    def _tell(self, done: int, loss: float, seconds: float) -> None:
        left = (self.setup.iters - done) * seconds
        self.say(
            f"[TRAIN] iter: {done}/{self.setup.iters}, loss: {loss:.4f}, lr: {self.optimizer.get_lr():.6f}, "
            f"batch_cost: {seconds:.3f} s, ETA {int(left // 3600):02d}:{int(left % 3600 // 60):02d}:{int(left % 60):02d}"
        )
        if self.log is not None:
            self.log.add_scalar("Train/loss", loss, done)
            self.log.add_scalar("Train/lr", self.optimizer.get_lr(), done)

    def _pause(self, done: int) -> None:
        if self.options.do_eval:
            self._validate(done)
        if rank() == 0:
            save_training(self.folder, self.model, self.optimizer, self.progress, self.options.keep)
        if ranks() > 1:
            paddle.distributed.barrier()

    def _validate(self, done: int) -> None:
        scores = evaluate(self.model, self.setup.val_dataset, self.setup.classes, self.setup.batch_size, self.setup.ignore_index)
        self.progress.curve.append([done, scores.score])
        if self.progress.best is None or scores.score > self.progress.best[0]:
            self.progress.best = [scores.score, done]
            if rank() == 0:
                save_best(self.folder, self.model)
        for line in scores.lines():
            self.say(f"[EVAL] {line}")
        self.say(f"[EVAL] best: {self.progress.best[0]:.4f} at iter {self.progress.best[1]:g}")
        if self.log is not None:
            self.log.add_scalar("Evaluate/mIoU", scores.miou, done)
            self.log.add_scalar("Evaluate/accuracy", scores.accuracy, done)


def _visual_log(options: TrainOptions, folder: Path) -> Any:
    del options
    return import_extra("visualdl", "train").LogWriter(str(folder))

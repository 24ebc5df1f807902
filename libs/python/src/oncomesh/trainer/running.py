# SPDX-License-Identifier: Apache-2.0
"""The main function of a trainer."""

from __future__ import annotations

import sys
import time
from typing import Protocol

from threadpoolctl import threadpool_limits

from oncomesh.trainer.errors import TrainerError
from oncomesh.trainer.task import Task, Update


class Trainer(Protocol):
    """What a trainer can be asked for. The kinds of a task are these names."""

    def statistics(self, task: Task) -> Update:
        """Sums over the examples that the first training round needs."""

    def train(self, task: Task) -> Update:
        """One round of training: the model of a round in, an update out."""

    def evaluate(self, task: Task) -> Update:
        """Metrics of the model on the task's cases; no tensors."""


def run(trainer: Trainer) -> None:
    """Does the task of this process and ends it: status 0 when done, 1 with a reason on stderr.

    Whatever the trainer prints must be free of patients' values: the node keeps its last lines.
    """
    started = time.monotonic()
    try:
        task = Task.from_environment()
        # With one thread the sums of a matrix product have one order, so that a repeated round
        # gives the same bytes; and the threads of a BLAS, which wait for each other by spinning,
        # make a tall product thirty times slower where the cores are shared.
        with threadpool_limits(1):
            update = getattr(trainer, task.kind)(task)
        task.write(update)
    except TrainerError as error:
        sys.exit(f"error: {error}")
    except MemoryError:
        sys.exit("error: OUT_OF_MEMORY: the examples do not fit; take fewer or coarser ones")
    except Exception as error:
        # The message of a foreign exception can quote its input: only its kind and place leave.
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_name}:{place.tb_lineno}" if place else "?"
        sys.exit(f"error: TRAINER_FAILED: {type(error).__name__} in {where}")
    print(f"{task.kind} of {len(task.cases)} cases in {time.monotonic() - started:.2f} s")

# SPDX-License-Identifier: Apache-2.0
"""Everything a trainer needs to run at a node.

    from oncomesh.trainer import Case, LogisticTrainer, Samples, run

    def samples(case, modalities):
        ...
        return Samples(features, labels)

    if __name__ == "__main__":
        run(LogisticTrainer(samples))

Importing it takes a quarter of a second, because a node starts a trainer once per round: images and
filters are imported when a case is first opened.
"""

from oncomesh.trainer.cases import Case, Volume
from oncomesh.trainer.errors import TrainerError
from oncomesh.trainer.logistic import Model, Moments, Samples, Standardisation
from oncomesh.trainer.logistic_trainer import LogisticTrainer
from oncomesh.trainer.measures import auc, dice
from oncomesh.trainer.running import Trainer, run
from oncomesh.trainer.task import Task, Update
from oncomesh.trainer.tensors import read_tensors, write_tensors

__all__ = [
    "Case",
    "LogisticTrainer",
    "Model",
    "Moments",
    "Samples",
    "Standardisation",
    "Task",
    "Trainer",
    "TrainerError",
    "Update",
    "Volume",
    "auc",
    "dice",
    "read_tensors",
    "run",
    "write_tensors",
]

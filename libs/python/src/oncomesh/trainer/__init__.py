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

import os as _os

# One thread per process, set before numpy loads its BLAS: a node gives a trainer its own cores, and
# with one thread the sums of a matrix product have one order, so that a repeated round gives the
# same bytes.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    _os.environ.setdefault(_name, "1")

from oncomesh.trainer.cases import Case, Volume  # noqa: E402
from oncomesh.trainer.errors import TrainerError  # noqa: E402
from oncomesh.trainer.logistic import Model, Moments, Samples, Standardisation  # noqa: E402
from oncomesh.trainer.logistic_trainer import LogisticTrainer  # noqa: E402
from oncomesh.trainer.measures import auc, dice  # noqa: E402
from oncomesh.trainer.running import Trainer, run  # noqa: E402
from oncomesh.trainer.task import Task, Update  # noqa: E402
from oncomesh.trainer.tensors import read_tensors, write_tensors  # noqa: E402

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

# SPDX-License-Identifier: Apache-2.0
"""The one error of the trainer kit."""

from __future__ import annotations


class TrainerError(Exception):
    """A trainer cannot do its task.

    `reason` is an upper-case name for programs; the message says what to do. Of the two only the
    reason leaves the node, in the run's record, when it is one that doc/formats/trainer.md lists;
    the message stays in a log of the node. Neither ever holds a value of a patient, nor the code
    or path of a case.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

# SPDX-License-Identifier: Apache-2.0
"""Progress of long work: a bar of tqdm where it is installed, plain lines on stderr elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

_LINE_EVERY = 3.0  # s


class Progress:
    """Counts to `total`; use it as a context. Shows nothing when `shown` is False."""

    def __init__(self, what: str, total: int, unit: str, shown: bool = True) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._shown = shown
        self._at = -1
        self._printed = float("-inf")
        self._bar: Any = None
        if shown:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                return
            unit_options = {"unit": unit, "unit_scale": unit == "B"}
            self._bar = tqdm(desc=what, total=total, **unit_options)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, done: int, remark: str = "") -> None:
        """`done` of the total are done."""
        if not self._shown:
            return
        if self._bar is not None:
            self._bar.n = done
            self._bar.set_postfix_str(remark, refresh=True)
            return
        finished = done >= self._total
        now = time.monotonic()
        if done == self._at or (now - self._printed < _LINE_EVERY and not finished):
            return
        self._at, self._printed = done, now
        tail = f"  {remark}" if remark else ""
        print(f"{self._what}: {done:,} of {self._total:,} {self._unit}{tail}", file=sys.stderr)

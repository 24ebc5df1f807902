# SPDX-License-Identifier: Apache-2.0
"""Which patients are held out of training: the rule of a node, to repeat it elsewhere."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable


def held_out(patients: Iterable[str], share: float, salt: str = "") -> set[str]:
    """The patients of one node that training never sees.

    Patients are put in the order of SHA-256("oncomesh-split/1" | salt | patient code), so that the
    choice depends on nobody and nothing else; the first ones are held out: `share` of them, at
    least one when the share is above 0, and never all of them.
    """
    distinct = set(patients)
    if share <= 0 or not distinct:
        return set()
    ordered = sorted(
        distinct, key=lambda code: hashlib.sha256(f"oncomesh-split/1{salt}{code}".encode()).digest()
    )
    count = min(max(1, math.floor(share * len(ordered) + 0.5)), len(ordered) - 1)
    return set(ordered[:count])

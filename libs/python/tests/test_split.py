# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from oncomesh.trainer.split import held_out

PATIENTS = [f"PATIENT{n:02d}" for n in range(20)]


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(20, 0.25, 5), (6, 0.34, 2), (4, 0.01, 1), (1, 0.5, 0), (2, 0.9, 1), (5, 0.0, 0)],
)
def test_the_share_is_kept_with_one_on_either_side(count: int, share: float, expected: int) -> None:
    assert len(held_out(PATIENTS[:count], share)) == expected


def test_order_and_repetition_do_not_matter_but_the_salt_does() -> None:
    assert held_out(PATIENTS * 2, 0.3) == held_out(PATIENTS[::-1], 0.3)
    assert held_out(PATIENTS, 0.3, "1") != held_out(PATIENTS, 0.3, "2")


def test_the_order_is_that_of_sha256() -> None:
    # printf "oncomesh-split/1%s" X | sha256sum begins with add5b61e, ad88d403, a15f5071, 44700a29.
    assert held_out("ABCD", 0.25) == {"D"}

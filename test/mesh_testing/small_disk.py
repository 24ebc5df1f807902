# SPDX-License-Identifier: Apache-2.0
"""A disk that can be filled: a tmpfs over folders of services, seen by these services alone.

It is mounted in a user and mount namespace of its own, which a plain user may make, so that a write
really ends with ENOSPC. A limit of the file size would end it with EFBIG and a signal, and would
not hit many small files.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import pytest

_MAKE = """
set -e
disk=$1; size=$2; shift 2
mount -t tmpfs -o "size=$size" tmpfs "$disk"
number=0
for folder in "$@"; do
  number=$((number + 1))
  mkdir "$disk/$number"
  cp -a "$folder/." "$disk/$number/"
  mount --bind "$disk/$number" "$folder"
done
echo ready
exec sleep 3600
"""


class SmallDisk:
    """Holds what was in `folders`. Skips the test where namespaces are not to be had."""

    def __init__(self, place: Path, folders: Sequence[Path], size: str = "16m") -> None:
        place.mkdir(parents=True, exist_ok=True)
        self._place = place
        self._folders = list(folders)
        self._keeper = subprocess.Popen(
            ["unshare", "-Urm", "sh", "-c", _MAKE, "sh", place, size, *folders],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != "ready\n":
            _, error = self._keeper.communicate(timeout=10)
            pytest.skip(f"no user and mount namespace here: {error.strip()}")

    def __enter__(self) -> SmallDisk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._keeper.kill()
        self._keeper.communicate()

    @property
    def around(self) -> tuple[str, ...]:
        """What is put before a command that is to see the disk."""
        pid = str(self._keeper.pid)
        return ("nsenter", "-t", pid, "-U", "-m", "--preserve-credentials")

    def inside(self, path: Path) -> Path:
        """Where a path below one of the folders is seen from outside."""
        return Path(f"/proc/{self._keeper.pid}/root{path}")

    def fill(self) -> None:
        """Leaves no byte."""
        with (self.inside(self._place) / "filler").open("ab", buffering=0) as filler:
            for block in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        filler.write(b"\0" * block)
                except OSError as error:
                    assert error.errno == errno.ENOSPC, error

    def free(self) -> None:
        """Gives the space back."""
        (self.inside(self._place) / "filler").unlink()

    def keep(self) -> None:
        """Puts what is on the disk back into the folders, for services that go on without it."""
        for folder in self._folders:
            subprocess.run(
                ["cp", "-a", f"{self.inside(folder)}/.", f"{folder}{os.sep}"], check=True
            )

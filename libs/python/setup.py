# SPDX-License-Identifier: Apache-2.0
"""The one build step that pyproject.toml cannot say: stubs from the protos."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from stub_generation import generate  # noqa: E402


class BuildWithStubs(build_py):  # type: ignore[misc]
    """build_py that adds the package `oncomesh.stubs`: in the build folder, or for an editable
    installation in the source tree.
    """

    _stubs: list[Path]

    def run(self) -> None:
        """Builds; then generates, so that stubs left over in the source tree never win."""
        super().run()
        in_source = HERE / "src" / "oncomesh" / "stubs"
        self._stubs = generate(in_source)  # here too: type checkers and editors read the source
        if not self.editable_mode:
            target = Path(self.build_lib) / "oncomesh" / "stubs"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(in_source, target)
            self._stubs = [target / path.relative_to(in_source) for path in self._stubs]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """What the base class builds, and the stubs."""
        outputs: list[str] = super().get_outputs(include_bytecode)
        return outputs + [str(path) for path in getattr(self, "_stubs", [])]


setup(cmdclass={"build_py": BuildWithStubs})

# SPDX-License-Identifier: Apache-2.0
"""What the package promises about itself."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import oncomesh
import oncomesh.stubs

ROOT = Path(os.environ.get("ONCOMESH_ROOT", Path(__file__).resolve().parents[3]))


def test_there_is_a_stub_for_every_proto() -> None:
    modules = {m.name for m in pkgutil.walk_packages(oncomesh.stubs.__path__, "oncomesh.stubs.")}
    protos = ROOT / "protos"
    if not protos.is_dir():
        pytest.skip("the protos are only in the source tree")
    for proto in (protos / "oncomesh").rglob("*.proto"):
        stem = proto.relative_to(protos / "oncomesh").with_suffix("").as_posix().replace("/", ".")
        assert f"oncomesh.stubs.{stem}_pb2" in modules
        importlib.import_module(f"oncomesh.stubs.{stem}_pb2")
        if "\nservice " in proto.read_text():
            importlib.import_module(f"oncomesh.stubs.{stem}_pb2_grpc")


def test_googles_own_rpc_messages_can_live_beside_ours() -> None:
    from google.rpc import error_details_pb2, status_pb2

    from oncomesh.stubs.relay.v1 import lane_pb2

    assert status_pb2.Status.DESCRIPTOR.full_name == "google.rpc.Status"
    assert error_details_pb2.ErrorInfo.DESCRIPTOR.full_name == "google.rpc.ErrorInfo"
    assert lane_pb2.DESCRIPTOR.package == "oncomesh.relay.v1"


@pytest.mark.parametrize("module", ["oncomesh", "oncomesh.trainer"])
def test_a_trainers_start_loads_neither_grpc_nor_imaging(module: str) -> None:
    heavy = ("grpc", "google.protobuf", "scipy", "nibabel", "sklearn", "tqdm")
    script = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_names_are_found_when_first_used() -> None:
    # As completion asks, in a process that has used none of them yet.
    script = "import oncomesh; print(*dir(oncomesh))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == sorted(oncomesh.__all__)
    for name in oncomesh.__all__:
        assert getattr(oncomesh, name).__name__ == name
    with pytest.raises(AttributeError):
        oncomesh.nothing  # noqa: B018

# SPDX-License-Identifier: Apache-2.0
"""Against a running mesh, when ONCOMESH_CONTEXT names a researcher's context."""

from __future__ import annotations

import os

import pytest

import oncomesh

pytestmark = pytest.mark.skipif(
    not os.environ.get("ONCOMESH_CONTEXT"), reason="ONCOMESH_CONTEXT names no mesh"
)


def test_the_hub_knows_who_calls_and_answers() -> None:
    with oncomesh.connect() as mesh:
        subject, roles = mesh.whoami()
        assert subject
        assert "researcher" in roles
        assert any(v.name == "modality" for v in mesh.variables())
        for dataset in mesh.datasets():
            assert mesh.dataset(dataset.name).digest == dataset.digest
        count = mesh.count('modality = "CT"', by=["sex"])
        assert {n.state for n in count.nodes} <= {"ANSWERED", "PARTLY", "REFUSED", "UNREACHABLE"}
        with pytest.raises(oncomesh.InvalidArgumentError) as caught:
            mesh.count('no_such_variable = "1"')
        assert caught.value.reason == "VARIABLE_UNKNOWN"
        with pytest.raises(oncomesh.NotFoundError, match="RUN_NOT_FOUND"):
            mesh.run("run-00000000")

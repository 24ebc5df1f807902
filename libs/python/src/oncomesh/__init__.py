# SPDX-License-Identifier: Apache-2.0
"""oncomesh: a federated mesh for cancer imaging, from Python.

    import oncomesh

    mesh = oncomesh.connect("contexts/researcher.json")
    mesh.datasets()
    mesh.count('modality = "PT" and age >= 50', by=["sex"])

    run = mesh.submit("plan.json", permit="permit-…")
    run.watch()
    weights = run.model()

`oncomesh.trainer` is the kit for programs that run at the nodes; `oncomesh.stubs` holds the
generated gRPC stubs for whatever this client does not wrap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oncomesh.errors import (
        FailedPreconditionError,
        InvalidArgumentError,
        MeshError,
        NotFoundError,
        PermissionDeniedError,
        UnauthenticatedError,
        UnavailableError,
    )
    from oncomesh.mesh import Mesh, connect

__version__ = "0.1.0"
__all__ = [
    "FailedPreconditionError",
    "InvalidArgumentError",
    "Mesh",
    "MeshError",
    "NotFoundError",
    "PermissionDeniedError",
    "UnauthenticatedError",
    "UnavailableError",
    "connect",
]


def __dir__() -> list[str]:
    # What is loaded on first use is as good as there: completion must offer it.
    return sorted(__all__)


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # The client is loaded when it is first used: a trainer, started once per round, must not pay
    # for gRPC.
    if name not in __all__:
        raise AttributeError(f"module 'oncomesh' has no attribute {name!r}")
    from oncomesh import errors, mesh

    return getattr(mesh if name in ("Mesh", "connect") else errors, name)

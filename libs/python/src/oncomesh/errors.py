# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, as exceptions that carry the service's reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import grpc
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"


class MeshError(Exception):
    """A call was refused or failed.

    `code` is the gRPC status ("NOT_FOUND"), `reason` the stable word to compare ("RUN_NOT_FOUND"),
    `message` says what happened and what to do, `metadata` holds the parts that vary.
    """

    def __init__(
        self, code: str, reason: str, message: str, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class InvalidArgumentError(MeshError):
    """The request itself is wrong."""


class NotFoundError(MeshError):
    """There is no such thing, or it is not yours to see."""


class PermissionDeniedError(MeshError):
    """Your role, the permit or a policy does not allow it."""


class UnauthenticatedError(MeshError):
    """The mesh does not know who you are: a token is missing, expired or of an unknown issuer."""


class FailedPreconditionError(MeshError):
    """Right request, wrong moment: the state of the thing does not allow it."""


class UnavailableError(MeshError):
    """Nobody answered, or not in time; trying again may help."""


_KINDS: dict[str, type[MeshError]] = {
    "INVALID_ARGUMENT": InvalidArgumentError,
    "OUT_OF_RANGE": InvalidArgumentError,
    "NOT_FOUND": NotFoundError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "FAILED_PRECONDITION": FailedPreconditionError,
    "ALREADY_EXISTS": FailedPreconditionError,
    "ABORTED": FailedPreconditionError,
    "UNAVAILABLE": UnavailableError,
    "DEADLINE_EXCEEDED": UnavailableError,
    "RESOURCE_EXHAUSTED": UnavailableError,
}


def mesh_error(
    code: str, reason: str, message: str, metadata: Mapping[str, str] | None = None
) -> MeshError:
    """The exception for a status code."""
    return _KINDS.get(code, MeshError)(code, reason, message, metadata)


def from_rpc(error: grpc.RpcError, endpoint: str) -> MeshError:
    """The exception for a failed call; the reason is the code when the answer carries none."""
    call = cast(grpc.Call, error)  # what every failed call raises is both
    code = call.code().name
    message = call.details() or ""
    details = dict(call.trailing_metadata() or ()).get(_DETAILS_KEY)
    if isinstance(details, bytes):
        for part in _details(details):
            return mesh_error(code, part.reason, message, part.metadata)
    if code == "UNAVAILABLE":
        return mesh_error(
            code,
            "FRONT_DOOR_UNREACHABLE",
            f"nobody answers at {endpoint}, or its certificate does not chain to the context's CA; "
            f"is the mesh up? ({message})",
        )
    if code == "UNIMPLEMENTED":
        return mesh_error(
            code,
            "METHOD_UNKNOWN",
            "the site of this context does not do that: datasets, counts, access and runs are the "
            "hub's, which a context of a node's holder does not lead to",
        )
    if code == "DEADLINE_EXCEEDED":
        return mesh_error(code, code, "no answer in time; give the call a longer timeout")
    return mesh_error(code, code, message)


def _details(content: bytes) -> list[error_details_pb2.ErrorInfo]:
    try:
        status = status_pb2.Status.FromString(content)
    except Exception:  # the runtimes differ in what they raise; the status code is still there
        return []
    found = []
    for any_message in status.details:
        info = error_details_pb2.ErrorInfo()
        if any_message.Unpack(info) and info.reason:
            found.append(info)
    return found

# SPDX-License-Identifier: Apache-2.0
"""Calls through a front door in the name of one person."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import grpc
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message

from oncomesh.context import Context
from oncomesh.errors import (
    InvalidArgumentError,
    MeshError,
    UnauthenticatedError,
    UnavailableError,
    from_rpc,
)
from oncomesh.stubs.access.v1 import access_pb2, people_pb2, people_pb2_grpc
from oncomesh.stubs.catalogue.v1 import catalogue_pb2
from oncomesh.stubs.training.v1 import training_pb2

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

_TIMEOUT = 30.0  # s
# A token is renewed this long before it ends: a call that starts with it must also arrive with it.
_RENEW_BEFORE = 30.0


def retry_config() -> str:
    """The gRPC service config of the channel.

    A unary call that found nobody is made again, if its proto says that it may be repeated
    (`idempotency_level`). A line that broke does not say whether the call was carried out.
    """
    names = [
        {"service": service.full_name, "method": method.name}
        for stubs in (access_pb2, people_pb2, catalogue_pb2, training_pb2)
        for service in stubs.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if method.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN
        and not (method.client_streaming or method.server_streaming)
    ]
    policy = {
        "maxAttempts": 4,
        "initialBackoff": "0.2s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": policy}]})


# Of the connection to a front door.
OPTIONS = (
    ("grpc.max_receive_message_length", 8 << 20),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.service_config", retry_config()),
)


class FrontDoor:
    """A channel and the person's token. Any number of threads may call."""

    def __init__(self, context: Context, channel: grpc.Channel | None = None) -> None:
        """`channel` replaces the TLS connection to the context's endpoint, for tests."""
        self.endpoint = context.endpoint
        self.subject = context.subject
        self._context = context
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = 0.0
        self.channel = channel or grpc.secure_channel(
            context.endpoint,
            grpc.ssl_channel_credentials(root_certificates=context.ca),
            # One authority vouches for every site: the name in the certificate says whose it is.
            options=(*OPTIONS, ("grpc.ssl_target_name_override", context.server_name)),
        )

    def close(self) -> None:
        """Ends every call and the connection."""
        self.channel.close()

    def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        timeout: float = _TIMEOUT,
        permit: str = "",
    ) -> Response:
        """One unary call. Raises MeshError with the service's reason."""
        for attempt in (1, 2):
            try:
                return method(request, timeout=timeout, metadata=self.metadata(permit))
            except grpc.RpcError as error:
                failure = from_rpc(error, self.endpoint)
                if attempt == 1 and self._expired(failure):
                    continue
                raise failure from None
        raise AssertionError("unreachable")

    def stream(
        self,
        method: grpc.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        *,
        timeout: float,
    ) -> Iterator[Response]:
        """A server stream. Raises MeshError while it is read; closing the iterator cancels it."""
        call = method(request, timeout=timeout, metadata=self.metadata(""))
        try:
            yield from call
        except grpc.RpcError as error:
            failure = from_rpc(error, self.endpoint)
            self._expired(failure)  # so that the caller's next try brings a new token
            raise failure from None
        finally:
            call.cancel()

    def metadata(self, permit: str = "") -> tuple[tuple[str, str], ...]:
        """What a call carries: the person's token, and the permit when it needs one."""
        metadata: list[tuple[str, str]] = []
        token = self._current_token()
        if token:
            metadata.append(("authorization", f"Bearer {token}"))
        if permit:
            metadata.append(("oncomesh-permit", permit))
        return tuple(metadata)

    def _expired(self, failure: MeshError) -> bool:
        """True when the token ended on the way and another one can be had."""
        if not isinstance(failure, UnauthenticatedError) or self._context.credential_file is None:
            return False
        with self._lock:
            self._renew_at = 0.0
        return True

    def _current_token(self) -> str:
        context = self._context
        if context.token_file is not None:
            return _read(context.token_file, "token")
        if context.credential_file is None:
            return ""
        with self._lock:
            if time.time() >= self._renew_at:
                credential = _read(context.credential_file, "credential")
                stub = people_pb2_grpc.PeopleServiceStub(self.channel)
                try:
                    issued = stub.IssueToken(
                        people_pb2.IssueTokenRequest(credential=credential), timeout=_TIMEOUT
                    )
                except grpc.RpcError as error:
                    raise from_rpc(error, self.endpoint) from None
                self._token = issued.token
                ends = issued.expire_time.seconds
                # A token shorter than twice the margin is used for half its life.
                now = time.time()
                self._renew_at = max(ends - _RENEW_BEFORE, now + (ends - now) / 2)
            return self._token


def is_passing(error: MeshError) -> bool:
    """True for a failure of the line, after which a stream may be taken up again."""
    return isinstance(error, UnavailableError) and error.code != "RESOURCE_EXHAUSTED"


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise InvalidArgumentError(
            "INVALID_ARGUMENT",
            "CONTEXT_INVALID",
            f"the {what} file that the context names cannot be read",
        ) from error

# SPDX-License-Identifier: Apache-2.0
"""What no gRPC client sends, to every port of the relays: they refuse it and go on serving."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
from oncomesh.stubs.access.v1 import people_pb2, people_pb2_grpc

from mesh_testing.mesh import Mesh, call, refusal

WHO_AM_I = b"/oncomesh.access.v1.PeopleService/WhoAmI"
# gRPC's server hands all of these to the program; its client ends the program that passes them on.
ENTRIES = [
    (b"x-a", b"\xff"),
    (b"x-a", b"a\tb"),
    (b"x-!", b"v"),
    (b"", b"v"),
    (b"oncomesh-permit", b"\xff"),
    (b"authorization", b"Bearer \xff"),
]
METHODS = [b"/oncomesh.access.v1.PeopleService/\xff", b"/oncomesh.access.v1.PeopleService/a/b"]
# HTTP/2 (RFC 9113): types of frames, and flags.
DATA, HEADERS, RST_STREAM, SETTINGS, PING = 0, 1, 3, 4, 6
END_STREAM, ACK, END_HEADERS = 1, 1, 4


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def literal(name: bytes, value: bytes) -> bytes:
    """A field without indexing or Huffman code (RFC 7541, 6.2.2)."""
    assert len(name) < 127 and len(value) < 127
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def request(method: bytes, entries: list[tuple[bytes, bytes]]) -> bytes:
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", method),
        (b":authority", b"mesh"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"grpc-timeout", b"5S"),
        *entries,
    ]
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(SETTINGS, 0, 0, b"")
        + frame(HEADERS, END_HEADERS, 1, b"".join(literal(*field) for field in fields))
        + frame(DATA, END_STREAM, 1, bytes(5))
    )


def is_answered(address: str, identity: Path | None, ca: Path, content: bytes) -> bool:
    """Whether the one call of a connection ends by an answer or a reset, before the connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(ca)
    context.set_alpn_protocols(["h2"])
    if identity is not None:
        context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
    host, port = address.split(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain) as line,
    ):
        line.sendall(content)
        received = b""
        while True:
            try:
                more = line.recv(65536)
            except (ConnectionError, ssl.SSLError):
                return False
            if not more:
                return False
            received += more
            while len(received) >= 9:
                size = int.from_bytes(received[:3], "big")
                if len(received) < 9 + size:
                    break
                kind, flags = received[3], received[4]
                stream = int.from_bytes(received[5:9], "big")
                payload = received[9 : 9 + size]
                received = received[9 + size :]
                if kind == PING and not flags & ACK:
                    line.sendall(frame(PING, ACK, 0, payload))
                if stream == 1 and (kind == RST_STREAM or flags & END_STREAM):
                    return True


@pytest.mark.parametrize(
    ("site", "port", "who"),
    [
        ("hub", "frontDoor", None),
        ("north", "frontDoor", None),
        ("hub", "node", ("north", "relay")),
        ("hub", "downlink", ("hub", "catalogue")),
        ("north", "uplink", ("north", "catalogue")),
    ],
)
def test_bytes_that_grpc_would_not_send_end_one_call_and_nothing_else(
    mesh: Mesh, site: str, port: str, who: tuple[str, str] | None
) -> None:
    identity = None
    if who is not None:
        identity = mesh.folder / who[0] / "identity" / who[1] / "current"
    address = mesh.address(site, "relay", port)
    before = mesh.pid(site, "relay")
    ca = mesh.folder / "contexts" / "ca.crt"

    def answered(method: bytes, *entries: tuple[bytes, bytes]) -> bool:
        return is_answered(address, identity, ca, request(method, list(entries)))

    # What is well formed is answered: the bytes of this file are HTTP/2 and reach the relay.
    assert answered(WHO_AM_I, (b"x-a", b"v"))
    for entry in ENTRIES:
        assert answered(WHO_AM_I, entry), entry
    for method in METHODS:
        assert answered(method), method
    assert mesh.pid(site, "relay") == before
    assert mesh.is_running(site, "relay")
    stub = people_pb2_grpc.PeopleServiceStub(mesh.front_door(site))
    assert refusal(call, stub.WhoAmI, people_pb2.WhoAmIRequest()).reason == "NOT_SIGNED_IN"

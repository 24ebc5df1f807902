# SPDX-License-Identifier: Apache-2.0
"""Tokens, permits and certificates as somebody makes them who has a key, also the wrong one."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any


def encode(content: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The other way."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def header_of(jws: str) -> dict[str, Any]:
    """The header of a compact JWS, unverified."""
    return dict(json.loads(decode(jws.split(".", maxsplit=1)[0])))


def payload_of(jws: str) -> dict[str, Any]:
    """The payload of a compact JWS, unverified."""
    return dict(json.loads(decode(jws.split(".")[1])))


def new_key(folder: Path, kind: str = "P-256") -> Path:
    """A fresh key in a file: "P-256" or "Ed25519"."""
    path = folder / f"{kind}-{len(list(folder.iterdir()))}.key"
    options = (
        ["-algorithm", "ed25519"]
        if kind == "Ed25519"
        else ["-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{kind}"]
    )
    subprocess.run(["openssl", "genpkey", *options, "-out", path], check=True, capture_output=True)
    return path


def sign(header: dict[str, Any], payload: dict[str, Any], key: Path) -> str:
    """A compact JWS with `key`, whatever the header says of it: ES256 or EdDSA."""
    text = ".".join(
        encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, payload)
    )
    with tempfile.TemporaryDirectory() as folder:
        message = Path(folder) / "message"
        message.write_text(text)
        if (
            b"ED25519"
            in subprocess.run(
                ["openssl", "pkey", "-in", key, "-noout", "-text"], check=True, capture_output=True
            ).stdout
        ):
            signature = subprocess.run(
                ["openssl", "pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", message],
                check=True,
                capture_output=True,
            ).stdout
        else:
            signature = _raw(
                subprocess.run(
                    ["openssl", "dgst", "-sha256", "-sign", key, message],
                    check=True,
                    capture_output=True,
                ).stdout
            )
    return f"{text}.{encode(signature)}"


def _raw(der: bytes) -> bytes:
    """R and S of an ECDSA signature, 32 bytes each (RFC 7518 3.4), from its DER form."""
    at, numbers = 2, []
    for _ in range(2):
        size = der[at + 1]
        numbers.append(der[at + 2 : at + 2 + size].lstrip(b"\0").rjust(32, b"\0"))
        at += 2 + size
    return b"".join(numbers)


def signing_request(key: Path) -> str:
    """A PKCS #10 request for `key`."""
    return subprocess.run(
        ["openssl", "req", "-new", "-key", key, "-subj", "/CN=anybody"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def issue(authority: Path, folder: Path, uris: list[str]) -> Path:
    """An identity folder with the names `uris`, signed with `authority`/ca.{key,crt}."""
    folder.mkdir(parents=True, exist_ok=True)
    key = new_key(folder)
    key.rename(folder / "tls.key")
    names = ",".join([f"URI:{uri}" for uri in uris] + ["DNS:localhost", "IP:127.0.0.1"])
    extensions = folder / "extensions"
    extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
    request = folder / "request.pem"
    request.write_text(signing_request(folder / "tls.key"))
    subprocess.run(
        [
            "openssl",
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            authority / "ca.crt",
            "-CAkey",
            authority / "ca.key",
            "-set_serial",
            str(int.from_bytes(key.name.encode()[:4], "big") + 7),
            "-days",
            "2",
            "-extfile",
            extensions,
            "-out",
            folder / "tls.crt",
        ],
        check=True,
        capture_output=True,
    )
    return folder


def new_authority(folder: Path) -> Path:
    """An authority of somebody else."""
    folder.mkdir(parents=True, exist_ok=True)
    new_key(folder).rename(folder / "ca.key")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-new",
            "-key",
            folder / "ca.key",
            "-subj",
            "/CN=somebody else",
            "-days",
            "2",
            "-out",
            folder / "ca.crt",
        ],
        check=True,
        capture_output=True,
    )
    return folder

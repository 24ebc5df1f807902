# SPDX-License-Identifier: Apache-2.0
"""Who one is and where the front door is."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from oncomesh.errors import FailedPreconditionError, InvalidArgumentError


@dataclass(frozen=True)
class Context:
    """A context file, the same that the `oncomesh` program takes.

    With `token_file` the person's own OIDC token is used, read again before every call; with
    `credential_file` the mesh's local issuer (for development) is asked for tokens.
    """

    endpoint: str
    # The DNS name in the certificate of the site's relay: `hub.<trust domain>` or
    # `<node>.node.<trust domain>`. No name server needs to know it.
    server_name: str
    ca: bytes
    token_file: Path | None
    credential_file: Path | None
    subject: str

    @classmethod
    def read(cls, path: str | os.PathLike[str] | None = None) -> Context:
        """Reads `path`, or the file that ONCOMESH_CONTEXT names.

        Raises FailedPreconditionError NO_CONTEXT, InvalidArgumentError CONTEXT_INVALID.
        """
        name = os.fspath(path) if path is not None else os.environ.get("ONCOMESH_CONTEXT", "")
        if not name:
            raise FailedPreconditionError(
                "FAILED_PRECONDITION",
                "NO_CONTEXT",
                "say who you are with connect(FILE) or ONCOMESH_CONTEXT; `oncomesh up` writes such "
                "files to DIR/contexts/",
            )
        file = Path(name)
        try:
            document = json.loads(file.read_bytes())
        except OSError as error:
            raise _invalid("it cannot be read") from error
        except ValueError as error:
            raise _invalid("it is not JSON") from error
        if not isinstance(document, dict):
            raise _invalid("it is not a JSON object")
        values: dict[str, str] = {}
        text = ("endpoint", "trustDomain", "site", "subject")
        keys = (*text, "caFile", "tokenFile", "credentialFile")
        for key in keys:
            value = document.get(key, "")
            if not isinstance(value, str):
                raise _invalid(f"{key} is not text")
            values[key] = value
        # Without the mesh's own authority every authority of this system could speak for the hub.
        for key in ("endpoint", "trustDomain", "site", "caFile"):
            if not values[key]:
                raise _invalid(f"{key} is missing")

        def beside(key: str) -> Path | None:
            return file.parent / values[key] if values[key] else None

        try:
            ca = (file.parent / values["caFile"]).read_bytes()
        except OSError as error:
            raise _invalid("the file that caFile names cannot be read") from error
        site = "hub" if values["site"] == "hub" else f"{values['site']}.node"
        return cls(
            values["endpoint"],
            f"{site}.{values['trustDomain']}",
            ca,
            beside("tokenFile"),
            beside("credentialFile"),
            values["subject"],
        )


def _invalid(what: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        "INVALID_ARGUMENT",
        "CONTEXT_INVALID",
        "the context file must be a JSON object with the texts endpoint, trustDomain, site (hub "
        f"or a node) and caFile, and tokenFile or credentialFile: {what}",
    )

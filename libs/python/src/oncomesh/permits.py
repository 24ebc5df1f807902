# SPDX-License-Identifier: Apache-2.0
"""Asking for access, and what is granted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from oncomesh.display import Shown, time_of
from oncomesh.stubs.access.v1 import access_pb2


@dataclass(frozen=True)
class Decision:
    """A holder's or the committee's word."""

    approved: bool
    by: str
    reason: str
    time: datetime | None
    max_rounds: int | None = None  # of one training run; None: no limit of this decision's

    @classmethod
    def of(cls, decision: access_pb2.Decision) -> Decision:
        """From the wire."""
        return cls(
            decision.approved,
            decision.decided_by,
            decision.reason,
            time_of(decision.decide_time),
            decision.max_rounds or None,
        )

    def __str__(self) -> str:
        word = "approved" if self.approved else "refused"
        limit = f" for runs of at most {self.max_rounds} rounds" if self.max_rounds else ""
        return f"{word} by {self.by}{limit}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, repr=False)
class AccessRequest(Shown):
    """A wish to use datasets for a purpose, as it stands."""

    id: str
    title: str
    state: str  # "SUBMITTED", "COMMITTEE", "APPROVED", "PARTLY_APPROVED", "REFUSED", "WITHDRAWN"
    purpose: str
    operations: tuple[str, ...]
    datasets: tuple[str, ...]
    holders: tuple[tuple[str, Decision | None], ...]  # by dataset; None: not decided yet
    committee: Decision | None
    permit: str  # id, or empty
    until: datetime | None
    created: datetime | None

    @classmethod
    def of(cls, request: access_pb2.Request) -> AccessRequest:
        """From the wire."""
        return cls(
            id=request.id,
            title=request.title,
            state=access_pb2.Request.State.Name(request.state).removeprefix("STATE_"),
            purpose=request.purpose,
            operations=tuple(request.operations),
            datasets=tuple(d.dataset for d in request.datasets),
            holders=tuple(
                (d.dataset, Decision.of(d.holder) if d.HasField("holder") else None)
                for d in request.datasets
            ),
            committee=Decision.of(request.committee) if request.HasField("committee") else None,
            permit=request.permit_id,
            until=time_of(request.until_time),
            created=time_of(request.create_time),
        )

    @property
    def decided(self) -> bool:
        """Nothing more will happen to it."""
        return self.state not in ("SUBMITTED", "COMMITTEE")

    def _title(self) -> str:
        return self.title

    def _facts(self) -> list[tuple[str, object]]:
        return [
            ("request", self.id),
            ("state", self.state.lower().replace("_", " ")),
            ("purpose", self.purpose),
            ("operations", self.operations),
            *((dataset, decision or "not decided yet") for dataset, decision in self.holders),
            ("committee", self.committee),
            ("permit", self.permit),
            ("until", self.until),
        ]


REQUEST_COLUMNS = [
    ("request", lambda r: r.id),
    ("title", lambda r: r.title),
    ("state", lambda r: r.state.lower().replace("_", " ")),
    ("datasets", lambda r: len(r.datasets)),
    ("operations", lambda r: r.operations),
    ("permit", lambda r: r.permit),
    ("asked", lambda r: r.created),
]


@dataclass(frozen=True, repr=False)
class Permit(Shown):
    """What was allowed. `token` is the signed permit; whoever holds it can show it, so keep it."""

    id: str
    state: str  # "ACTIVE", "EXPIRED", "REVOKED"
    people: tuple[str, ...]
    datasets: tuple[str, ...]
    purpose: str
    operations: tuple[str, ...]
    starts: datetime | None
    ends: datetime | None
    request: str
    revoke_reason: str
    token: str
    max_rounds: int | None = None  # of one training run; None: as each node's policy allows

    @classmethod
    def of(cls, permit: access_pb2.Permit, token: str) -> Permit:
        """From the wire."""
        return cls(
            id=permit.id,
            state=access_pb2.Permit.State.Name(permit.state).removeprefix("STATE_"),
            people=tuple(permit.people),
            datasets=tuple(permit.datasets),
            purpose=permit.purpose,
            operations=tuple(permit.operations),
            starts=time_of(permit.not_before_time),
            ends=time_of(permit.expire_time),
            request=permit.request,
            revoke_reason=permit.revoke_reason,
            token=token,
            max_rounds=permit.max_rounds or None,
        )

    def _title(self) -> str:
        return f"Permit {self.id}"

    def _facts(self) -> list[tuple[str, object]]:
        # Not the token: notebooks are saved and sent around.
        return [
            ("state", self.state.lower()),
            ("reason", self.revoke_reason),
            ("people", self.people),
            ("datasets", self.datasets),
            ("purpose", self.purpose),
            ("operations", self.operations),
            ("from", self.starts),
            ("until", self.ends),
            ("most rounds of a run", self.max_rounds),
        ]


PERMIT_COLUMNS = [
    ("permit", lambda p: p.id),
    ("state", lambda p: p.state.lower()),
    ("operations", lambda p: p.operations),
    ("datasets", lambda p: len(p.datasets)),
    ("purpose", lambda p: p.purpose),
    ("until", lambda p: p.ends),
]

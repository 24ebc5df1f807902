# SPDX-License-Identifier: Apache-2.0
"""The mesh as a researcher sees it."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timezone
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc

from oncomesh.context import Context
from oncomesh.datasets import DATASET_COLUMNS, VARIABLE_COLUMNS, Count, Dataset, Variable
from oncomesh.display import Listing
from oncomesh.errors import MeshError
from oncomesh.front_door import FrontDoor
from oncomesh.permits import PERMIT_COLUMNS, REQUEST_COLUMNS, AccessRequest, Permit
from oncomesh.runs import (
    MODEL_COLUMNS,
    RUN_COLUMNS,
    Model,
    Run,
    Tensors,
    download_model,
    load_tensors,
    read_plan,
    read_run,
)
from oncomesh.stubs.access.v1 import access_pb2, access_pb2_grpc, people_pb2, people_pb2_grpc
from oncomesh.stubs.catalogue.v1 import catalogue_pb2, catalogue_pb2_grpc
from oncomesh.stubs.training.v1 import training_pb2, training_pb2_grpc

if TYPE_CHECKING:
    from oncomesh.runs import PlanLike

_PAGE = 200
_COUNT_SECONDS = 30.0


def connect(context: str | os.PathLike[str] | None = None) -> Mesh:
    """The mesh behind the front door that a context file names (or ONCOMESH_CONTEXT).

    Opens no connection yet: the first call does. Raises MeshError NO_CONTEXT, CONTEXT_INVALID.
    """
    return Mesh(FrontDoor(Context.read(context)))


class Mesh:
    """Every method is a call to the hub and raises MeshError with the service's reason.

    Any number of threads may use one; close it, or use it as a context, to end its connection.
    """

    def __init__(self, door: FrontDoor) -> None:
        self._door = door
        self._catalogue = catalogue_pb2_grpc.CatalogueServiceStub(door.channel)
        self._access = access_pb2_grpc.AccessServiceStub(door.channel)
        self._people = people_pb2_grpc.PeopleServiceStub(door.channel)
        self._training = training_pb2_grpc.TrainingServiceStub(door.channel)

    def __enter__(self) -> Mesh:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._door.close()

    @property
    def channel(self) -> grpc.Channel:
        """For the stubs in oncomesh.stubs; their calls need a timeout and `metadata()`."""
        return self._door.channel

    def metadata(self, permit: str = "") -> tuple[tuple[str, str], ...]:
        """What a stub's call must carry to be made in one's name."""
        return self._door.metadata(permit)

    def whoami(self) -> tuple[str, tuple[str, ...]]:
        """The name the hub knows one by, and the roles there."""
        answer = self._door.call(self._people.WhoAmI, people_pb2.WhoAmIRequest())
        return answer.subject, tuple(answer.roles)

    # What there is.

    def datasets(
        self,
        text: str = "",
        *,
        nodes: Sequence[str] = (),
        uses: Sequence[str] = (),
        **facets: Sequence[str] | str,
    ) -> Listing[Dataset]:
        """Published datasets: every word of `text` occurs, each facet (`modality="CT"`) holds."""
        named = {"node": nodes, "duo": uses, **facets}
        request = catalogue_pb2.SearchDatasetsRequest(text=text, page_size=_PAGE)
        for field, values in named.items():
            chosen = [values] if isinstance(values, str) else list(values)
            if chosen:
                request.facets.add(field=field, values=chosen)
        found: list[Dataset] = []
        while True:
            answer = self._door.call(self._catalogue.SearchDatasets, request)
            found += [Dataset.of(record) for record in answer.datasets]
            if not answer.next_page_token:
                return Listing("", found, DATASET_COLUMNS)
            request.page_token = answer.next_page_token

    def dataset(self, name: str) -> Dataset:
        """One dataset by its name; without the version the newest."""
        request = catalogue_pb2.GetDatasetRequest(name=name)
        return Dataset.of(self._door.call(self._catalogue.GetDataset, request).dataset)

    def variables(self) -> Listing[Variable]:
        """What expressions can ask for."""
        answer = self._door.call(
            self._catalogue.ListVariables, catalogue_pb2.ListVariablesRequest()
        )
        return Listing("", [Variable.of(v) for v in answer.variables], VARIABLE_COLUMNS)

    def count(
        self,
        expression: str,
        *,
        by: Sequence[str] = (),
        nodes: Sequence[str] = (),
        permit: str | Permit = "",
        timeout: float = _COUNT_SECONDS,
    ) -> Count:
        """How many patients match, e.g. `modality = "CT" and sex = "F"`, at every node or `nodes`.

        Some nodes count only under a permit: give its id, the `Permit`, or its signed form.
        Nodes that do not answer within `timeout` seconds are named in the answer.
        """
        request = catalogue_pb2.CountRequest(text=expression, by=by, nodes=nodes)
        token = self._token_of(permit) if permit else ""
        answer = self._door.call(self._catalogue.Count, request, permit=token, timeout=timeout)
        return Count.of(answer)

    # Access.

    def request_access(
        self,
        datasets: Sequence[str | Dataset],
        *,
        purpose: str,
        title: str,
        operations: Sequence[str] = ("count", "train", "evaluate"),
        until: date | datetime,
        answers: Mapping[str, Any] | None = None,
        request_id: str | None = None,
    ) -> AccessRequest:
        """Asks the datasets' holders and the committee; their decisions show in `access_request`.

        `purpose` is a DUO code; a date `until` means the end of that day in UTC; `answers` are
        those to the committee's questions. The same `request_id` (a UUID) again returns the same
        request.
        """
        if not isinstance(until, datetime):
            until = datetime(until.year, until.month, until.day, 23, 59, 59, tzinfo=timezone.utc)
        request = access_pb2.CreateRequestRequest(
            request_id=request_id or str(uuid.uuid4()),
            datasets=[d.name if isinstance(d, Dataset) else d for d in datasets],
            purpose=purpose,
            title=title,
            operations=operations,
            answers_json=json.dumps(answers, ensure_ascii=False) if answers else "",
        )
        request.until_time.FromDatetime(until)
        return AccessRequest.of(self._door.call(self._access.CreateRequest, request).request)

    def access_request(self, id: str) -> AccessRequest:  # noqa: A002
        """A request as it stands now."""
        request = access_pb2.GetRequestRequest(id=id)
        return AccessRequest.of(self._door.call(self._access.GetRequest, request).request)

    def access_requests(self) -> Listing[AccessRequest]:
        """Every request one may see, newest first."""
        request = access_pb2.ListRequestsRequest(page_size=_PAGE)
        found: list[AccessRequest] = []
        while True:
            answer = self._door.call(self._access.ListRequests, request)
            found += [AccessRequest.of(r) for r in answer.requests]
            if not answer.next_page_token:
                return Listing("", found, REQUEST_COLUMNS)
            request.page_token = answer.next_page_token

    def withdraw_request(self, id: str) -> AccessRequest:  # noqa: A002
        """Takes a request back before it is decided."""
        request = access_pb2.WithdrawRequestRequest(id=id)
        return AccessRequest.of(self._door.call(self._access.WithdrawRequest, request).request)

    def permit(self, id: str) -> Permit:  # noqa: A002
        """A permit with its signed form."""
        answer = self._door.call(self._access.GetPermit, access_pb2.GetPermitRequest(id=id))
        return Permit.of(answer.permit, answer.jws)

    def _token_of(self, permit: str | Permit) -> str:
        """The signed form of a permit that is given as an id, as itself, or in that form."""
        if isinstance(permit, Permit):
            return permit.token
        # A compact JWS has three parts; an id has none.
        return permit if permit.count(".") == 2 else self.permit(permit).token

    def permits(self) -> Listing[Permit]:
        """The permits that came out of one's requests."""
        ids = dict.fromkeys(r.permit for r in self.access_requests() if r.permit)
        return Listing("", [self.permit(id) for id in ids], PERMIT_COLUMNS)  # noqa: A001

    # Training.

    def submit(self, plan: PlanLike, permit: str | Permit, *, request_id: str | None = None) -> Run:
        """Starts a run under a permit: its id, the `Permit`, or its signed form.

        `plan` is a JSON file, a dict, or a Plan message. The same `request_id` (a UUID) again
        returns the same run.
        """
        message = read_plan(plan)
        request = training_pb2.SubmitRunRequest(
            request_id=request_id or str(uuid.uuid4()), plan=message
        )
        answer = self._door.call(self._training.SubmitRun, request, permit=self._token_of(permit))
        return Run(self._door, answer.run)

    def run(self, name: str) -> Run:
        """A run with its rounds."""
        return Run(self._door, read_run(self._door, name))

    def runs(self) -> Listing[Run]:
        """Every run one may see, newest first, without rounds (`refresh` fetches them)."""
        request = training_pb2.ListRunsRequest(page_size=_PAGE)
        found: list[Run] = []
        while True:
            answer = self._door.call(self._training.ListRuns, request)
            found += [Run(self._door, r) for r in answer.runs]
            if not answer.next_page_token:
                return Listing("", found, RUN_COLUMNS)
            request.page_token = answer.next_page_token

    def models(self, run: str = "", *, final_only: bool = True) -> Listing[Model]:
        """Models of the registry with their lineage, newest first."""
        request = training_pb2.ListModelsRequest(page_size=_PAGE, run=run, final_only=final_only)
        found: list[Model] = []
        while True:
            answer = self._door.call(self._training.ListModels, request)
            found += [Model.of(m) for m in answer.models]
            if not answer.next_page_token:
                return Listing("", found, MODEL_COLUMNS)
            request.page_token = answer.next_page_token

    def model(self, model: str | Model, *, progress: bool = False) -> Tensors:
        """The tensors of a model of the registry, which is named by its SHA-256."""
        sha256 = model.sha256 if isinstance(model, Model) else model
        return load_tensors(download_model(self._door, sha256, progress))


__all__ = ["Mesh", "MeshError", "connect"]

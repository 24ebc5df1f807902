# SPDX-License-Identifier: Apache-2.0
"""The client against a hub in this process that speaks the generated servicers."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
from collections.abc import Iterator
from concurrent import futures
from datetime import date
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2
from safetensors.numpy import save

import oncomesh
from oncomesh.context import Context
from oncomesh.front_door import OPTIONS, FrontDoor, retry_config
from oncomesh.runs import read_plan
from oncomesh.stubs.access.v1 import access_pb2, access_pb2_grpc, people_pb2, people_pb2_grpc
from oncomesh.stubs.catalogue.v1 import catalogue_pb2, catalogue_pb2_grpc
from oncomesh.stubs.training.v1 import plan_pb2, training_pb2, training_pb2_grpc

MODEL = save({"intercept": np.array([0.5]), "weights": np.arange(400_000, dtype=np.float64)})
DIGEST = hashlib.sha256(MODEL).hexdigest()
JWS = "aGVhZA.Ym9keQ.c2ln"
PLAN = {"name": "a plan", "strategy": "NEWTON", "rounds": 2, "evaluate": {"heldOut": 0.5}}


def refuse(context: Any, code: grpc.StatusCode, reason: str, message: str, **metadata: str) -> None:
    """As libs/rpc/status.cc does it."""
    status = status_pb2.Status(code=code.value[0], message=message)
    info = error_details_pb2.ErrorInfo(reason=reason, domain="oncomesh", metadata=metadata)
    status.details.add().Pack(info)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, message)


class Hub(
    catalogue_pb2_grpc.CatalogueServiceServicer,
    access_pb2_grpc.AccessServiceServicer,
    people_pb2_grpc.PeopleServiceServicer,
    training_pb2_grpc.TrainingServiceServicer,
):
    """Answers from a script; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.metadata: list[dict[str, Any]] = []
        self.tokens = 0
        self.token_seconds = 3600
        self.token_refusals = 0
        self.cuts = 0  # how often a stream is still to be cut
        self.absences = 0  # how often the hub is still away when it is called
        self.damaged = False
        self.lock = threading.Lock()

    def _note(self, request: Any, context: Any) -> None:
        with self.lock:
            self.asked.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
            assert context.time_remaining() is not None, "every call must carry a deadline"
            if self.absences:
                self.absences -= 1
                refuse(context, grpc.StatusCode.UNAVAILABLE, "RELAY_DRAINING", "come back")
            if self.token_refusals:
                self.token_refusals -= 1
                refuse(context, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED", "log in again")

    def IssueToken(self, request: Any, context: Any) -> Any:
        import time

        with self.lock:
            self.tokens += 1
            response = people_pb2.IssueTokenResponse(token=f"token-{self.tokens}")
        if request.credential != "credential":
            refuse(context, grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID", "not known here")
        response.expire_time.seconds = int(time.time()) + self.token_seconds
        return response

    def WhoAmI(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        return people_pb2.WhoAmIResponse(subject="researcher", roles=["researcher"], site="hub")

    def SearchDatasets(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        number = int(request.page_token or 1)
        record = catalogue_pb2.DatasetRecord(
            name=f"nodes/north/datasets/sarcoma{number}/versions/1",
            title="Sarcoma <b>&</b>",
            duo_codes=["DUO:0000042"],
            digest="ab" * 32,
        )
        record.statistics.studies = 12
        record.statistics.values.add(variable="modality", value="PT", patients=10)
        return catalogue_pb2.SearchDatasetsResponse(
            datasets=[record], next_page_token=str(number + 1) if number < 3 else "", total=3
        )

    def Count(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        if "colour" in request.text:
            refuse(
                context,
                grpc.StatusCode.INVALID_ARGUMENT,
                "VARIABLE_UNKNOWN",
                "there is no variable 'colour'; `variables` lists them",
                variable="colour",
            )
        state = catalogue_pb2.NodeCount
        answer = catalogue_pb2.CountResponse(
            total=20, masked=True, text=request.text, by=request.by
        )
        north = answer.nodes.add(node="north", state=state.STATE_ANSWERED, value=20)
        for value, count in (("F", 12), (None, 8)):
            group = north.groups.add(value=count)
            key = group.key.add(variable="sex")
            if value:
                key.value = value
        south = answer.nodes.add(node="south", state=state.STATE_UNREACHABLE)
        south.reasons.add(reason="NODE_TIMEOUT", message="no answer in time")
        return answer

    def CreateRequest(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        answer = access_pb2.CreateRequestResponse()
        answer.request.id = "request-1"
        answer.request.title = request.title
        answer.request.state = access_pb2.Request.STATE_SUBMITTED
        answer.request.until_time.CopyFrom(request.until_time)
        for name in request.datasets:
            answer.request.datasets.add(dataset=name)
        return answer

    def ListRequests(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        answer = access_pb2.ListRequestsResponse()
        answer.requests.add(id="r2", state=access_pb2.Request.STATE_SUBMITTED)
        answer.requests.add(
            id="r1", state=access_pb2.Request.STATE_APPROVED, permit_id="permit-1", title="One"
        )
        return answer

    def GetPermit(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        if request.id != "permit-1":
            refuse(
                context, grpc.StatusCode.NOT_FOUND, "PERMIT_NOT_FOUND", "there is no such permit"
            )
        permit = access_pb2.Permit(
            id=request.id, state=access_pb2.Permit.STATE_ACTIVE, operations=["train"]
        )
        return access_pb2.GetPermitResponse(permit=permit, jws=JWS)

    def SubmitRun(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        return training_pb2.SubmitRunResponse(run=self.run(0, request.plan))

    def GetRun(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        run = self.run(3)
        rounds = [r for r in run.rounds if r.number >= request.from_round]
        del run.rounds[:]
        run.rounds.extend(rounds[:2])  # a message carries two
        return training_pb2.GetRunResponse(
            run=run, next_round=rounds[2].number if len(rounds) > 2 else 0
        )

    def WatchRun(self, request: Any, context: Any) -> Iterator[Any]:
        self._note(request, context)
        for closed in range(4):
            if closed == 2 and self.cuts:
                self.cuts -= 1
                refuse(context, grpc.StatusCode.UNAVAILABLE, "RELAY_DRAINING", "come back")
            run = self.run(closed)
            # As the service does: only what is new or may have changed.
            changed = [r for r in run.rounds if r.number >= max(closed, request.from_round)]
            del run.rounds[:]
            run.rounds.extend(changed)
            yield training_pb2.WatchRunResponse(run=run)

    def ListModels(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        number = int(request.page_token or 3)
        answer = training_pb2.ListModelsResponse(next_page_token="2" if number == 3 else "")
        answer.models.add(
            sha256=DIGEST,
            run=request.run,
            round=number,
            final=number == 3,
            permit="permit-1",
            contributors=["north", "south"],
        )
        return answer

    def DownloadModel(self, request: Any, context: Any) -> Iterator[Any]:
        self._note(request, context)
        part = training_pb2.DownloadModelResponse
        yield part(header=training_pb2.DownloadHeader(bytes=len(MODEL), sha256=DIGEST))
        content = MODEL[::-1] if self.damaged else MODEL
        for first in range(request.offset, len(content), 1 << 20):
            yield part(chunk=content[first : first + (1 << 20)])
            if self.cuts:
                self.cuts -= 1
                refuse(context, grpc.StatusCode.UNAVAILABLE, "RELAY_DRAINING", "come back")
        yield part(finish=training_pb2.DownloadFinish(sha256=DIGEST))

    def run(self, closed: int, plan: Any = None) -> Any:
        run = training_pb2.Run(
            name="run-1", plan=plan or read_plan(PLAN), state=training_pb2.Run.STATE_RUNNING
        )
        kinds = [training_pb2.Round.KIND_TRAIN] * 2 + [training_pb2.Round.KIND_EVALUATE]
        for number, kind in enumerate(kinds[: closed + 1], start=1):
            done = number <= closed
            r = run.rounds.add(
                number=number,
                kind=kind,
                state=training_pb2.Round.STATE_CLOSED if done else training_pb2.Round.STATE_OPEN,
                model_sha256=DIGEST if done else "",
            )
            if done:
                r.metrics["loss"] = 1.0 / number
                r.open_time.seconds, r.close_time.seconds = 100, 103
                states = training_pb2.Contribution
                r.contributions.add(node="north", state=states.STATE_DONE, examples=7)
                r.contributions.add(node="south", state=states.STATE_DROPPED, reason="DEADLINE")
        if closed == 3:
            run.state = training_pb2.Run.STATE_SUCCEEDED
            run.model_sha256 = DIGEST
        return run


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def mesh(hub: Hub, tmp_path: Path) -> Iterator[oncomesh.Mesh]:
    server = grpc.server(futures.ThreadPoolExecutor(8))
    catalogue_pb2_grpc.add_CatalogueServiceServicer_to_server(hub, server)
    access_pb2_grpc.add_AccessServiceServicer_to_server(hub, server)
    people_pb2_grpc.add_PeopleServiceServicer_to_server(hub, server)
    training_pb2_grpc.add_TrainingServiceServicer_to_server(hub, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    (tmp_path / "secret").write_text("credential\n")
    document = {
        "endpoint": f"127.0.0.1:{port}",
        "trustDomain": "mesh",
        "site": "hub",
        "caFile": "ca.crt",
        "credentialFile": "secret",
    }
    (tmp_path / "ca.crt").write_text("the channel of these tests has no TLS\n")
    (tmp_path / "context.json").write_text(json.dumps(document))
    context = Context.read(tmp_path / "context.json")
    channel = grpc.insecure_channel(context.endpoint, options=OPTIONS)
    with oncomesh.Mesh(FrontDoor(context, channel)) as found:
        yield found
    server.stop(None)


def test_datasets_are_read_page_by_page_and_shown_escaped(mesh: oncomesh.Mesh, hub: Hub) -> None:
    found = mesh.datasets("sarcoma", nodes=["north"], modality="PT")
    assert [d.name for d in found] == [
        f"nodes/north/datasets/sarcoma{n}/versions/1" for n in (1, 2, 3)
    ]
    assert found[0].patients is None
    assert found[0].studies == 12
    facets = {f.field: list(f.values) for f in hub.asked[0].facets}
    assert facets == {"node": ["north"], "modality": ["PT"]}
    html = found._repr_html_()
    assert "Sarcoma &lt;b&gt;&amp;&lt;/b&gt;" in html
    assert "<b>" not in html
    assert "hidden" in repr(found)
    assert len(found[:2]) == 2
    assert "PT: 10" in found[0]._repr_html_()


def test_a_count_tells_what_every_node_said(mesh: oncomesh.Mesh) -> None:
    count = mesh.count('modality = "PT"', by=["sex"])
    assert int(count) == 20
    assert count.masked
    assert count.groups() == {("F",): 12, (None,): 8}
    assert [n.state for n in count.nodes] == ["ANSWERED", "UNREACHABLE"]
    assert count.nodes[1].value is None
    for shown in (repr(count), count._repr_html_()):
        assert "hidden" not in shown  # nothing was: one node gave no answer
        assert "at least 20" in shown
        assert "NODE_TIMEOUT" in shown
        assert "unknown" in shown


def test_an_error_carries_its_reason_and_the_way_out(mesh: oncomesh.Mesh) -> None:
    with pytest.raises(oncomesh.InvalidArgumentError) as caught:
        mesh.count('colour = "red"')
    error = caught.value
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "VARIABLE_UNKNOWN")
    assert error.metadata == {"variable": "colour"}
    assert str(error).startswith("VARIABLE_UNKNOWN: there is no variable")
    with pytest.raises(oncomesh.NotFoundError, match="PERMIT_NOT_FOUND"):
        mesh.permit("permit-2")


def test_a_site_that_does_not_do_it_says_so(mesh: oncomesh.Mesh) -> None:
    with pytest.raises(oncomesh.MeshError, match="METHOD_UNKNOWN: the site of this context"):
        mesh.withdraw_request("request-1")


def test_one_token_serves_until_it_ends(mesh: oncomesh.Mesh, hub: Hub) -> None:
    for _ in range(3):
        assert mesh.whoami() == ("researcher", ("researcher",))
    assert hub.tokens == 1
    assert hub.metadata[0]["authorization"] == "Bearer token-1"


def test_a_short_token_is_renewed_and_a_refused_one_replaced(mesh: oncomesh.Mesh, hub: Hub) -> None:
    hub.token_seconds = 0
    mesh.whoami()
    mesh.whoami()
    assert hub.tokens == 2
    hub.token_seconds = 3600
    mesh.whoami()
    hub.token_refusals = 1
    mesh.whoami()
    assert hub.tokens == 4
    hub.token_refusals = 2
    with pytest.raises(oncomesh.UnauthenticatedError, match="TOKEN_EXPIRED"):
        mesh.whoami()


def test_access_is_asked_for_until_the_end_of_a_day(mesh: oncomesh.Mesh, hub: Hub) -> None:
    request = mesh.request_access(
        mesh.datasets()[:1],
        purpose="DUO:0000006",
        title="Tumours",
        until=date(2027, 3, 1),
        answers={"funding": "öffentlich", "years": 2},
    )
    assert request.state == "SUBMITTED"
    assert not request.decided
    assert request.until is not None
    assert request.until.isoformat() == "2027-03-01T23:59:59+00:00"
    assert list(hub.asked[-1].operations) == ["count", "train", "evaluate"]
    assert len(hub.asked[-1].request_id) == 36
    assert json.loads(hub.asked[-1].answers_json) == {"funding": "öffentlich", "years": 2}
    assert "not decided yet" in repr(request)


def test_permits_come_from_ones_requests_and_keep_their_token_to_themselves(
    mesh: oncomesh.Mesh,
) -> None:
    (permit,) = mesh.permits()
    assert (permit.id, permit.state, permit.token) == ("permit-1", "ACTIVE", JWS)
    assert JWS not in permit._repr_html_() + repr(permit)


@pytest.mark.parametrize("by", ["id", "permit", "jws"])
def test_a_run_is_submitted_under_its_permit(mesh: oncomesh.Mesh, hub: Hub, by: str) -> None:
    permit = {"id": "permit-1", "permit": mesh.permit("permit-1"), "jws": JWS}[by]
    run = mesh.submit(PLAN, permit)  # type: ignore[arg-type]
    assert hub.metadata[-1]["oncomesh-permit"] == JWS
    assert hub.asked[-1].plan.strategy == plan_pb2.STRATEGY_NEWTON
    assert run.name == "run-1"
    assert not run.ended
    with pytest.raises(oncomesh.FailedPreconditionError, match="MODEL_NOT_READY"):
        run.model()


def test_a_watched_run_survives_a_cut_and_gives_its_model(
    mesh: oncomesh.Mesh, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    run = mesh.submit(PLAN, JWS)
    hub.cuts = 2
    assert run.watch().state == "SUCCEEDED"
    assert "run-1" in capsys.readouterr().err
    assert [r.kind for r in run.rounds] == ["TRAIN", "TRAIN", "EVALUATE"]
    assert run.rounds[0].dropped == {"south": "DEADLINE"}
    assert run.rounds[0].seconds == 3.0
    assert run.metrics == {"loss": pytest.approx(1 / 3)}
    assert "0.3333" in run._repr_html_()
    hub.cuts = 2
    model = run.model()
    assert model["weights"][-1] == 399_999
    offsets = [r.offset for r in hub.asked if isinstance(r, training_pb2.DownloadModelRequest)]
    assert offsets == [0, 1 << 20, 2 << 20]


def test_calls_that_may_be_repeated_are(mesh: oncomesh.Mesh, hub: Hub) -> None:
    hub.absences = 3
    assert mesh.whoami()[0] == "researcher"
    assert len(hub.asked) == 4
    config = json.loads(retry_config())
    methods = {name["method"] for name in config["methodConfig"][0]["name"]}
    assert {"SubmitRun", "CreateRequest", "Count", "GetPermit"} <= methods
    # A decision says once what it says; streams are taken up where they ended.
    assert not methods & {"Decide", "WithdrawRequest", "WatchRun", "DownloadModel"}


def test_a_model_that_is_not_its_digest_is_refused(mesh: oncomesh.Mesh, hub: Hub) -> None:
    hub.damaged = True
    with pytest.raises(oncomesh.MeshError) as caught:
        mesh.run("run-1").model()
    assert caught.value.reason == "MODEL_HASH_MISMATCH"


def test_a_model_appears_under_its_name_when_complete(mesh: oncomesh.Mesh, tmp_path: Path) -> None:
    run = mesh.run("run-1")
    path = run.save_model(tmp_path / "m.safetensors")
    assert path.read_bytes() == MODEL
    # What is there stays, unless it is said otherwise.
    path.write_text("mine")
    with pytest.raises(oncomesh.FailedPreconditionError, match="OUTPUT_EXISTS"):
        run.save_model(path)
    assert path.read_text() == "mine"
    run.save_model(path, force=True)
    assert path.read_bytes() == MODEL
    assert not list(tmp_path.glob(".*.partial"))


def test_models_are_read_page_by_page_with_their_lineage(mesh: oncomesh.Mesh) -> None:
    found = mesh.models("run-1")
    assert [(m.round, m.final, m.contributors) for m in found] == [
        (3, True, ("north", "south")),
        (2, False, ("north", "south")),
    ]
    assert found[0].permit == "permit-1"
    assert DIGEST[:16] in found._repr_html_()
    assert "north, south" in repr(found[0])
    assert mesh.model(found[0])["weights"][-1] == 399_999


def test_a_failed_run_raises_its_reason(
    mesh: oncomesh.Mesh, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(closed: int, plan: Any = None) -> Any:
        run = training_pb2.Run(name="run-1", state=training_pb2.Run.STATE_FAILED, reason="QUORUM")
        run.message = "two of three nodes were lost"
        return run

    run = mesh.submit(PLAN, JWS)
    monkeypatch.setattr(hub, "run", failed)
    with pytest.raises(oncomesh.FailedPreconditionError, match="QUORUM: two of three"):
        run.watch(progress=False)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"rounds": "many"}', '{"unknownField": 1}', '{"strategy": "MAGIC"}']
)
def test_a_plan_that_cannot_be_read_says_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(oncomesh.InvalidArgumentError, match="PLAN_INVALID"):
        read_plan(tmp_path / "plan.json")
    with pytest.raises(oncomesh.InvalidArgumentError, match="PLAN_INVALID"):
        read_plan(tmp_path / "absent.json")


def test_nobody_at_the_front_door(authority: Path) -> None:
    (authority / "context.json").write_text(
        '{"endpoint": "127.0.0.1:9", "trustDomain": "mesh", "site": "hub", "caFile": "ca.crt"}'
    )
    with (
        oncomesh.connect(authority / "context.json") as mesh,
        pytest.raises(oncomesh.UnavailableError) as caught,
    ):
        mesh.whoami()
    assert caught.value.reason == "FRONT_DOOR_UNREACHABLE"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"endpoint": 3}',
        '{"endpoint": "x:1", "caFile": "absent.crt"}',
        '{"endpoint": "x:1", "trustDomain": "m", "site": "hub", "caFile": "absent.crt"}',
        '{"endpoint": "x:1", "trustDomain": "m", "site": "hub", "tokenFile": "context.json"}',
    ],
)
def test_a_context_that_cannot_be_used_says_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "context.json").write_text(content)
    with pytest.raises(oncomesh.InvalidArgumentError, match="CONTEXT_INVALID"):
        oncomesh.connect(tmp_path / "context.json")


def test_without_a_context_there_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONCOMESH_CONTEXT", raising=False)
    with pytest.raises(oncomesh.MeshError, match="ONCOMESH_CONTEXT"):
        oncomesh.connect()


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A CA and a certificate for 127.0.0.1, made by openssl."""
    extensions = tmp_path / "san.cnf"
    extensions.write_text("subjectAltName=DNS:north.node.mesh,DNS:localhost,IP:127.0.0.1\n")
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    sign = ["openssl", "x509", "-req", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"]
    for command in (
        [*new, "-x509", "-subj", "/CN=test ca", "-keyout", "ca.key", "-out", "ca.crt"],
        [*new, "-subj", "/CN=front door", "-keyout", "tls.key", "-out", "tls.csr"],
        [*sign, "-in", "tls.csr", "-extfile", "san.cnf", "-out", "tls.crt"],
        [*new, "-x509", "-subj", "/CN=other ca", "-keyout", "other.key", "-out", "other.crt"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def test_the_front_door_must_chain_to_the_contexts_authority(hub: Hub, authority: Path) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    people_pb2_grpc.add_PeopleServiceServicer_to_server(hub, server)
    pair = ((authority / "tls.key").read_bytes(), (authority / "tls.crt").read_bytes())
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    (authority / "token").write_text("a.b.c\n")
    # Another authority, another site of the same authority, another mesh: none is the front door.
    for ca, site, domain, known in (
        ("ca.crt", "north", "mesh", True),
        ("other.crt", "north", "mesh", False),
        ("ca.crt", "hub", "mesh", False),
        ("ca.crt", "south", "mesh", False),
        ("ca.crt", "north", "other", False),
    ):
        context = {
            "endpoint": f"127.0.0.1:{port}",
            "trustDomain": domain,
            "site": site,
            "caFile": ca,
            "tokenFile": "token",
        }
        (authority / "context.json").write_text(json.dumps(context))
        with oncomesh.connect(authority / "context.json") as mesh:
            if known:
                assert mesh.whoami()[0] == "researcher"
                assert hub.metadata[-1]["authorization"] == "Bearer a.b.c"
            else:
                with pytest.raises(oncomesh.UnavailableError, match="FRONT_DOOR_UNREACHABLE"):
                    mesh.whoami()
    assert len(hub.asked) == 1
    server.stop(None)

# SPDX-License-Identifier: Apache-2.0
"""Who is let in as whom: invitations, tokens, certificates, suspension."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from oncomesh.errors import MeshError
from oncomesh.stubs.access.v1 import (
    access_pb2,
    access_pb2_grpc,
    enrolment_pb2,
    enrolment_pb2_grpc,
    people_pb2,
    people_pb2_grpc,
    trust_pb2,
    trust_pb2_grpc,
)
from oncomesh.stubs.catalogue.v1 import (
    catalogue_pb2,
    catalogue_pb2_grpc,
    node_catalogue_pb2,
    node_catalogue_pb2_grpc,
)
from oncomesh.stubs.training.v1 import task_pb2, task_pb2_grpc, training_pb2, training_pb2_grpc

from mesh_testing import signing
from mesh_testing.mesh import Mesh, Metadata, call, refusal, until

ACCESS = task_pb2.AcquireTaskRequest(session="a-session-of-a-test")


def enrol(mesh: Mesh, node: str, secret: str, key: Path) -> enrolment_pb2.EnrolResponse:
    stub = enrolment_pb2_grpc.EnrolmentServiceStub(mesh.front_door("hub"))
    request = enrolment_pb2.EnrolRequest(
        node=node,
        secret=secret,
        signing_requests=[
            enrolment_pb2.SigningRequest(service="access", csr_pem=signing.signing_request(key))
        ],
    )
    return call(stub.Enrol, request)


def invite(mesh: Mesh, node: str) -> str:
    """The secret of a new invitation."""
    token = mesh.ask("operator", "node", "invite", node)["token"]
    return str(json.loads(signing.decode(token.removeprefix("oncomesh1.")))["secret"])


def state_of(mesh: Mesh, node: str) -> str:
    for entry in mesh.ask("operator", "node", "list")["nodes"]:
        if entry["name"] == node:
            return str(entry["state"])
    return ""


def who_am_i(mesh: Mesh, token: str, site: str = "hub") -> people_pb2.WhoAmIResponse:
    stub = people_pb2_grpc.PeopleServiceStub(mesh.front_door(site))
    return call(
        stub.WhoAmI, people_pb2.WhoAmIRequest(), metadata=(("authorization", f"Bearer {token}"),)
    )


def test_an_invitation_enrols_one_node_once(mesh: Mesh, tmp_path: Path) -> None:
    secret = invite(mesh, "east")
    first, second = signing.new_key(tmp_path), signing.new_key(tmp_path)

    # Not for another name, and asking so does not use it up.
    assert refusal(lambda: enrol(mesh, "west", secret, first)).reason == "INVITATION_INVALID"
    assert refusal(lambda: enrol(mesh, "east", secret[::-1], first)).reason == "INVITATION_INVALID"
    stub = enrolment_pb2_grpc.EnrolmentServiceStub(mesh.front_door("hub"))
    damaged = enrolment_pb2.EnrolRequest(
        node="east",
        secret=secret,
        signing_requests=[enrolment_pb2.SigningRequest(service="access", csr_pem="no request")],
    )
    assert refusal(call, stub.Enrol, damaged).reason == "CSR_INVALID"
    assert state_of(mesh, "east") == "INVITED"

    certificate = enrol(mesh, "east", secret, first).certificates[0].certificate_pem
    assert "BEGIN CERTIFICATE" in certificate
    assert state_of(mesh, "east") == "MEMBER"
    # Whoever copied the token comes too late, with the same key or with another.
    assert refusal(lambda: enrol(mesh, "east", secret, first)).reason == "INVITATION_USED"
    assert refusal(lambda: enrol(mesh, "east", secret, second)).reason == "INVITATION_USED"
    assert mesh.refused("operator", "node", "invite", "east") == "NODE_EXISTS"
    assert state_of(mesh, "east") == "MEMBER"
    mesh.ask("operator", "node", "remove", "east")


def test_an_invitation_ends(mesh: Mesh, tmp_path: Path) -> None:
    secret = invite(mesh, "late")
    # A day passes for this invitation.
    with sqlite3.connect(mesh.folder / "hub" / "access" / "access.db", timeout=10) as database:
        changed = database.execute(
            "UPDATE invitations SET expires = ? WHERE node = 'late'", (int(time.time()) - 1,)
        )
        assert changed.rowcount == 1
    error = refusal(lambda: enrol(mesh, "late", secret, signing.new_key(tmp_path)))
    assert (error.code, error.reason) == ("UNAUTHENTICATED", "INVITATION_EXPIRED")
    assert state_of(mesh, "late") == "INVITED"
    # The operator's way out works.
    assert enrol(mesh, "late", invite(mesh, "late"), signing.new_key(tmp_path)).certificates
    mesh.ask("operator", "node", "remove", "late")


@pytest.mark.parametrize("site", ["hub", "north"])
def test_tokens_that_are_none(mesh: Mesh, site: str, tmp_path: Path) -> None:
    """The hub and a node judge tokens alike, the node by the trust bundle alone."""
    who = "researcher" if site == "hub" else f"holder-{site}"
    genuine = mesh.token(who)
    header, payload = signing.header_of(genuine), signing.payload_of(genuine)
    key = mesh.folder / "hub" / "access" / "issuer.key"
    now = int(time.time())

    def forged(
        key: Path = key, header_changes: dict[str, Any] | None = None, **changes: Any
    ) -> str:
        claims = {
            k: v
            for k, v in {**payload, "jti": str(uuid.uuid4()), **changes}.items()
            if v is not None
        }
        return signing.sign({**header, **(header_changes or {})}, claims, key)

    # The means work: what is made here like a genuine token is taken as one.
    assert who_am_i(mesh, forged(), site).subject == who

    body = genuine.split(".")
    unsigned = signing.encode(json.dumps({**header, "alg": "none"}).encode())
    other = signing.encode(json.dumps({**payload, "sub": "operator"}).encode())
    symmetric = signing.encode(json.dumps({**header, "alg": "HS256"}).encode())
    foreign = signing.new_key(tmp_path)
    for token, reason in (
        (forged(iat=now - 7200, exp=now - 3600), "TOKEN_EXPIRED"),
        (forged(iat=now + 3600, exp=now + 7200), "TOKEN_NOT_YET_VALID"),
        (forged(nbf=now + 3600), "TOKEN_NOT_YET_VALID"),
        (forged(iss="https://elsewhere.example/issuer"), "TOKEN_ISSUER_UNKNOWN"),
        (forged(iss=payload["iss"] + "/"), "TOKEN_ISSUER_UNKNOWN"),
        (forged(aud="another-service"), "TOKEN_AUDIENCE"),
        (forged(aud=["another-service", "a-third"]), "TOKEN_AUDIENCE"),
        (forged(aud=None), "TOKEN_AUDIENCE"),
        (forged(exp=None), "TOKEN_MALFORMED"),
        (forged(sub=None), "TOKEN_MALFORMED"),
        (forged(key=foreign), "TOKEN_SIGNATURE_INVALID"),
        (forged(key=foreign, header_changes={"kid": "another"}), "TOKEN_KEY_UNKNOWN"),
        # A permit is signed too, and speaks for nobody.
        (forged(header_changes={"typ": "oncomesh-permit+jwt"}), "TOKEN_MALFORMED"),
        (f"{body[0]}.{other}.{body[2]}", "TOKEN_SIGNATURE_INVALID"),
        (f"{unsigned}.{body[1]}.", None),
        (f"{unsigned}.{body[1]}.{body[2]}", None),
        (f"{symmetric}.{body[1]}.{body[2]}", None),
        ("", None),
        ("a.b.c", "TOKEN_MALFORMED"),
        (genuine + "A" * 20000, None),
    ):
        error = refusal(who_am_i, mesh, token, site)
        assert error.code == "UNAUTHENTICATED", (token[:60], error)
        if reason is not None:
            assert error.reason == reason, (
                signing.payload_of(token) if token.count(".") == 2 else token,
                error,
            )
    # A good token beside a bad one is nobody's.
    stub = people_pb2_grpc.PeopleServiceStub(mesh.front_door(site))
    two = (("authorization", f"Bearer {genuine}"), ("authorization", "Bearer a.b.c"))
    assert (
        refusal(call, stub.WhoAmI, people_pb2.WhoAmIRequest(), metadata=two).reason
        == "METADATA_AMBIGUOUS"
    )
    assert who_am_i(mesh, genuine, site).subject == who


def test_a_role_is_one_at_its_own_site(mesh: Mesh) -> None:
    assert mesh.refused("researcher", "node", "invite", "west") == "ROLE_NEEDED"
    assert (
        mesh.refused("researcher", "node", "suspend", "north", "--reason", "envy") == "ROLE_NEEDED"
    )
    assert mesh.refused("operator", "count", 'modality = "CT"') == "ROLE_NEEDED"
    assert mesh.refused("auditor", "permit", "revoke", "permit-x", "--reason", "r") == "ROLE_NEEDED"
    # The holder of one node is nobody at the other.
    stub = node_catalogue_pb2_grpc.NodeCatalogueServiceStub(mesh.front_door("south"))
    listing = node_catalogue_pb2.ListNodeDatasetsRequest()
    call(stub.ListNodeDatasets, listing, metadata=mesh.bearer("holder-south"))
    error = refusal(call, stub.ListNodeDatasets, listing, metadata=mesh.bearer("holder-north"))
    assert (error.code, error.reason) == ("PERMISSION_DENIED", "ROLE_NEEDED")
    assert refusal(call, stub.ListNodeDatasets, listing).reason == "NOT_SIGNED_IN"
    # Nobody at all.
    run = training_pb2_grpc.TrainingServiceStub(mesh.front_door("hub"))
    assert refusal(call, run.ListRuns, training_pb2.ListRunsRequest()).reason == "NOT_SIGNED_IN"
    assert state_of(mesh, "north") == "MEMBER"


def test_certificates_of_others(mesh: Mesh, tmp_path: Path) -> None:
    """MTLS ports: the trust domain, the name and the chain all count."""
    domain = json.loads((mesh.folder / "mesh.json").read_text())["trustDomain"]
    uplink = mesh.address("north", "relay", "uplink")
    stolen_authority = mesh.folder / "hub" / "access" / "authority"

    def acquire(identity: Path, address: str, metadata: tuple[tuple[str, str], ...] = ()) -> object:
        stub = task_pb2_grpc.TaskServiceStub(mesh.as_service(identity, address))
        return call(stub.AcquireTask, ACCESS, metadata=metadata, timeout=5)

    ours = signing.issue(
        stolen_authority, tmp_path / "ours", [f"spiffe://{domain}/node/north/training"]
    )
    acquire(ours, uplink)  # the means work

    for name, uris in (
        ("other-domain", ["spiffe://elsewhere.example/node/north/training"]),
        ("domain-prefix", [f"spiffe://{domain}.evil.example/node/north/training"]),
        ("two-names", [f"spiffe://{domain}/node/north/training", f"spiffe://{domain}/hub/access"]),
        ("no-path", [f"spiffe://{domain}/"]),
        ("climbing", [f"spiffe://{domain}/node/../training"]),
    ):
        identity = signing.issue(stolen_authority, tmp_path / name, uris)
        for address in (
            uplink,
            mesh.address("hub", "relay", "node"),
            mesh.address("hub", "training"),
        ):
            # No connection.
            assert refusal(acquire, identity, address).code == "UNAVAILABLE", (name, address)
    other_node = signing.issue(
        stolen_authority, tmp_path / "south", [f"spiffe://{domain}/node/south/training"]
    )
    assert refusal(lambda: acquire(other_node, uplink)).code == "UNAVAILABLE"
    # Signed by somebody else: no handshake, whatever the name says.
    forged = signing.issue(
        signing.new_authority(tmp_path / "authority"),
        tmp_path / "forged",
        [f"spiffe://{domain}/node/north/training"],
    )
    assert refusal(lambda: acquire(forged, uplink)).code == "UNAVAILABLE"
    # Services do not take calls of strangers even when they know the port: no handshake.
    training = mesh.address("hub", "training")
    assert refusal(lambda: acquire(other_node, training)).code == "UNAVAILABLE"


def test_a_node_speaks_for_itself_alone(mesh: Mesh, datasets: dict[str, str]) -> None:
    """Metadata that only relays may set changes nothing when others set it."""
    stub = task_pb2_grpc.TaskServiceStub(mesh.node_to_hub("north", "training"))
    for metadata in (
        (("oncomesh-node", "south"),),
        (("oncomesh-caller", "node/south/training"),),
        (("oncomesh-caller", "hub/training"),),
        (("oncomesh-person", "operator"),),
    ):
        call(stub.AcquireTask, ACCESS, metadata=metadata)  # still north, which has nothing to do
    # A token does not travel with a service's call.
    enrolment = enrolment_pb2_grpc.EnrolmentServiceStub(mesh.node_to_hub("north", "access"))
    suspend = enrolment_pb2.SuspendNodeRequest(node="south", reason="envy")
    tries: list[Metadata] = [(), mesh.bearer("operator"), (("oncomesh-caller", "hub/access"),)]
    for attempt in tries:
        assert refusal(call, enrolment.SuspendNode, suspend, metadata=attempt).code == (
            "PERMISSION_DENIED"
        )
    # At the front door the same.
    door = enrolment_pb2_grpc.EnrolmentServiceStub(mesh.front_door("hub"))
    for caller in ("hub/access", "node/north/access", "local/access"):
        assert (
            refusal(
                call,
                door.RenewCertificates,
                enrolment_pb2.RenewCertificatesRequest(),
                metadata=(("oncomesh-caller", caller),),
            ).reason
            == "NOT_SIGNED_IN"
        )
    # It publishes no record for another node, and withdraws none.
    record = catalogue_pb2.DatasetRecord(
        name="nodes/south/datasets/sarcoma/versions/9", title="not ours", digest="0" * 64
    )
    catalogue = catalogue_pb2_grpc.CatalogueServiceStub(mesh.node_to_hub("north", "catalogue"))
    publish = catalogue_pb2.PublishRecordRequest(record=record)
    assert refusal(call, catalogue.PublishRecord, publish).reason == "NOT_YOUR_DATASET"
    withdraw = catalogue_pb2.WithdrawRecordRequest(name=datasets["south"])
    assert refusal(call, catalogue.WithdrawRecord, withdraw).reason == "NOT_YOUR_DATASET"
    # It decides nothing about another node's dataset, whoever it says has decided.
    request = mesh.request([datasets["south"]], "count")
    access = access_pb2_grpc.AccessServiceStub(mesh.node_to_hub("north", "access"))
    decide = access_pb2.DecideRequest(
        id=request, approve=True, decided_by="holder-south", dataset=datasets["south"]
    )
    assert refusal(call, access.Decide, decide).reason in (
        "NOT_YOUR_DATASET",
        "REQUEST_NOT_FOUND",
    )
    shown = mesh.ask("researcher", "access", "show", request)
    assert shown["state"] == "SUBMITTED"
    # A node cannot push a bundle to the hub, or hear another node's lanes.
    trust = trust_pb2_grpc.TrustServiceStub(mesh.node_to_hub("north", "access"))
    assert (
        refusal(call, trust.PushTrustBundle, trust_pb2.PushTrustBundleRequest()).code
        == "PERMISSION_DENIED"
    )
    listed = {entry["name"] for entry in mesh.ask("researcher", "datasets", "list")["datasets"]}
    assert set(datasets.values()) <= listed and record.name not in listed


def test_a_suspended_node_is_cut_off_and_comes_back(mesh: Mesh, datasets: dict[str, str]) -> None:
    def states() -> dict[str, str]:
        counted = mesh.ask("researcher", "count", 'modality = "CT"', allow=(0, 3))
        return {entry["node"]: entry["state"] for entry in counted["nodes"]}

    assert states() == {"north": "ANSWERED", "south": "ANSWERED"}
    stub = task_pb2_grpc.TaskServiceStub(mesh.node_to_hub("south", "training"))
    call(stub.AcquireTask, ACCESS)
    # Calls that wait at the hub end with the suspension, not at their own deadline. Ten, so that
    # those of the nodes themselves cannot be taken for them.
    few = 10

    def waiting_at_hub() -> float:
        return mesh.metric("hub", "relay", "oncomesh_relay_calls_active")

    assert waiting_at_hub() < few
    waiting = [
        stub.AcquireTask.future(
            task_pb2.AcquireTaskRequest(session=f"a-session-of-{n}", wait={"seconds": 25}),
            timeout=30,
        )
        for n in range(few)
    ]
    until("calls wait at the hub", lambda: waiting_at_hub() >= few)
    assert not any(one.done() for one in waiting)
    enrolment = enrolment_pb2_grpc.EnrolmentServiceStub(mesh.front_door("hub"))
    silent = enrolment_pb2.SuspendNodeRequest(node="south")
    started = time.monotonic()
    assert refusal(
        lambda: call(enrolment.SuspendNode, silent, metadata=mesh.bearer("operator"))
    ).reason == ("REASON_NEEDED")
    mesh.ask("operator", "node", "suspend", "south", "--reason", "a key was lost")
    for one in waiting:
        with pytest.raises(grpc.RpcError):
            one.result(timeout=10)
    assert time.monotonic() - started < 10
    assert state_of(mesh, "south") == "SUSPENDED"
    assert refusal(call, stub.AcquireTask, ACCESS).reason in (
        "NODE_SUSPENDED",
        "HUB_NOT_CONNECTED",
        "NODE_LEFT",
    )
    # Whatever the node tries, with the relay's own identity too.
    own = mesh.folder / "south" / "identity" / "relay" / "current"
    direct = task_pb2_grpc.TaskServiceStub(
        mesh.as_service(own, mesh.address("hub", "relay", "node"))
    )
    assert refusal(call, direct.AcquireTask, ACCESS).reason == "NODE_SUSPENDED"
    renew = enrolment_pb2_grpc.EnrolmentServiceStub(
        mesh.as_service(own, mesh.address("hub", "relay", "node"))
    )
    assert refusal(
        lambda: call(renew.RenewCertificates, enrolment_pb2.RenewCertificatesRequest())
    ).reason == ("NODE_SUSPENDED")
    after = states()
    assert after["north"] == "ANSWERED" and after.get("south", "UNREACHABLE") == "UNREACHABLE"

    mesh.ask("operator", "node", "resume", "south")
    mesh.ask("operator", "node", "resume", "south")  # once more, as after a lost answer
    until(
        "south answers again",
        lambda: states() == {"north": "ANSWERED", "south": "ANSWERED"},
        30,
        0.2,
    )
    until("south is served", lambda: _served(stub), 10)


def _served(stub: task_pb2_grpc.TaskServiceStub) -> bool:
    try:
        call(stub.AcquireTask, ACCESS)
    except MeshError:
        return False
    return True


def test_the_keys_of_a_removed_node_open_nothing(mesh: Mesh, tmp_path: Path) -> None:
    """Not even while another machine is invited under its name."""
    old = tmp_path / "old"
    old.mkdir()
    signing.new_key(old).rename(old / "tls.key")
    enrolment = enrolment_pb2_grpc.EnrolmentServiceStub(mesh.front_door("hub"))
    request = enrolment_pb2.EnrolRequest(
        node="gone",
        secret=invite(mesh, "gone"),
        signing_requests=[
            enrolment_pb2.SigningRequest(
                service="relay", csr_pem=signing.signing_request(old / "tls.key")
            )
        ],
    )
    (old / "tls.crt").write_text(call(enrolment.Enrol, request).certificates[0].certificate_pem)
    tasks = task_pb2_grpc.TaskServiceStub(
        mesh.as_service(old, mesh.address("hub", "relay", "node"))
    )
    as_training = (("oncomesh-caller", "node/gone/training"),)
    call(tasks.AcquireTask, ACCESS, metadata=as_training)
    mesh.ask("operator", "node", "remove", "gone")
    assert refusal(call, tasks.AcquireTask, ACCESS, metadata=as_training).reason == "NODE_SUSPENDED"
    invite(mesh, "gone")
    assert refusal(call, tasks.AcquireTask, ACCESS, metadata=as_training).reason == "NODE_SUSPENDED"
    mesh.ask("operator", "node", "remove", "gone")


def test_a_removed_node_enrols_anew(make_mesh: Callable[..., Mesh], studies: Path) -> None:
    """As an operator and the hospital do it: removed, invited again, new keys, the same data."""
    mesh = make_mesh()
    mesh.ask("holder-south", "ingest", str(studies / "south"), allow=(0, 3))
    mesh.policy("south", minCell=2, rounding=1)

    def answer() -> tuple[str, int | None]:
        counted = mesh.ask("researcher", "count", 'modality = "CT"', allow=(0, 3))
        found = [entry for entry in counted["nodes"] if entry["node"] == "south"]
        return (found[0]["state"], found[0].get("value")) if found else ("ABSENT", None)

    until("south answers", lambda: answer() == ("ANSWERED", 3), 10)
    mesh.ask("operator", "node", "remove", "south")
    assert state_of(mesh, "south") == "REMOVED"
    assert answer()[0] != "ANSWERED"
    identity = mesh.folder / "south" / "identity"
    before = (identity / "relay" / "current" / "tls.crt").read_text()
    for site, service in mesh.services():
        if site == "south":
            mesh.kill(site, service)
    shutil.rmtree(identity)
    mesh.up()  # with a new invitation, since the site has no certificate
    assert state_of(mesh, "south") == "MEMBER"
    assert (identity / "relay" / "current" / "tls.crt").read_text() != before
    until("south answers again", lambda: answer() == ("ANSWERED", 3), 20)

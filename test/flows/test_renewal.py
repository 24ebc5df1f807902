# SPDX-License-Identifier: Apache-2.0
"""Certificates that live for seconds: a mesh goes on over more than a life."""

from __future__ import annotations

import ssl
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from oncomesh.stubs.access.v1 import people_pb2, people_pb2_grpc

from mesh_testing.mesh import Mesh, call, until

LIFE = 24  # s


def served(address: str) -> tuple[str, float]:
    """Serial number and end of the certificate that a port shows."""
    host, port = address.split(":")
    pem = ssl.get_server_certificate((host, int(port)), timeout=10)
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-serial", "-enddate"],
        input=pem,
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    fields = dict(line.split("=", 1) for line in shown.splitlines())
    end = datetime.strptime(fields["notAfter"], "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    return fields["serial"], end.timestamp()


def is_other(link: Path, before: Path) -> bool:
    return link.resolve() != before


def make_short_lived(mesh: Mesh) -> None:
    """Sets the life, and has every site renew once, by a certificate that cannot be read."""
    damaged = {"hub": "training", **dict.fromkeys(mesh.nodes, "harmonisation")}
    for site, service in mesh.services():
        mesh.kill(site, service)
    mesh.configure("hub", "access", lambda config: config.update(certificateSeconds=LIFE))
    for site in ("hub", *mesh.nodes):
        certificate = mesh.folder / site / "identity" / damaged[site] / "current" / "tls.crt"
        before = certificate.parent.resolve()
        certificate.write_text("unreadable\n")
        # A node asks the hub through its relay.
        mesh.start(site, *(("access", "relay") if site == "hub" else ("relay", "access")))

        until(f"{site} has other certificates", partial(is_other, certificate.parent, before), 70)
        others = [name for at, name in mesh.services() if at == site]
        mesh.start(site, *(name for name in others if name not in ("access", "relay")))


def test_certificates_are_renewed_under_way(make_mesh: Callable[..., Mesh]) -> None:
    mesh = make_mesh()
    make_short_lived(mesh)
    ports = {}
    for site, service in mesh.services():
        if service == "relay":
            ports[f"{site}/relay/frontDoor"] = mesh.address(site, service, "frontDoor")
            for name in ("node", "downlink") if site == "hub" else ("uplink",):
                ports[f"{site}/relay/{name}"] = mesh.address(site, service, name)
        else:
            ports[f"{site}/{service}"] = mesh.address(site, service)
    pids = {(site, service): mesh.pid(site, service) for site, service in mesh.services()}
    first: dict[str, tuple[str, float]] = {}

    def all_short() -> bool:
        # A service looks for a new certificate every two seconds.
        first.update({name: served(address) for name, address in ports.items()})
        return all(end <= time.time() + LIFE + 1 for _, end in first.values())

    until("every port shows a short-lived certificate", all_short, 20, 0.5)
    seen = {name: {serial} for name, (serial, _) in first.items()}
    until_time = max(end for _, end in first.values()) + 5
    calls = 0
    # A slow machine does few rounds in a life.
    while time.time() < until_time or calls < 5:
        for name, address in ports.items():
            serial, end = served(address)
            assert end > time.time(), f"{name} shows a certificate that has ended"
            seen[name].add(serial)
        # New connections of people, over the old ones between sites.
        counted = mesh.ask(
            "researcher", "count", 'modality = "CT"', "--timeout", "10", allow=(0, 3)
        )
        # A node that holds nothing refuses; one that cannot be reached would not.
        assert {entry["state"] for entry in counted["nodes"]} == {"REFUSED"}, counted
        for node in mesh.nodes:
            stub = people_pb2_grpc.PeopleServiceStub(mesh.front_door(node))
            bearer = mesh.bearer(f"holder-{node}")
            assert call(stub.WhoAmI, people_pb2.WhoAmIRequest(), metadata=bearer).site == node
        calls += 1
    for name, serials in seen.items():
        assert len(serials) >= 2, f"{name} still shows the certificate it began with"
    assert pids == {key: mesh.pid(*key) for key in pids}
    assert all(mesh.is_running(*key) for key in pids)
    # A relay that has to dial anew does so with what it has now.
    mesh.kill("hub", "relay")
    mesh.start("hub", "relay")

    def answered() -> bool:
        counted = mesh.ask("researcher", "count", 'modality = "CT"', allow=(0, 1, 3))
        return {entry["state"] for entry in counted.get("nodes", [])} == {"REFUSED"}

    until("both nodes are back", answered, 30, 0.3)

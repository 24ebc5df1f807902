# SPDX-License-Identifier: Apache-2.0
"""The journey that tools/demo tells: every step is a command that a person could type."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import demo_sources
from demo_sources import Sources

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "test"))

from mesh_testing.search import Search

PROGRAM = ROOT / "build" / "release" / "bin" / "oncomesh"
TRAINER = "tumour-voxels"
DEFAULT_FOLDER = ROOT / "build" / "demo"
MARK = "made-by-tools-demo"


class Step(Exception):
    """A step of the journey that did not go as it must."""


class Journey:
    """Runs commands in the name of one person or another, and tells what happens."""

    def __init__(self, mesh: Path) -> None:
        self.mesh = mesh
        self.report: dict[str, Any] = {"steps": []}
        self.started = time.monotonic()

    def say(self, text: str) -> None:
        print(text, flush=True)

    def title(self, text: str) -> None:
        seconds = time.monotonic() - self.started
        print(f"\n\033[1m[{seconds:5.0f} s] {text}\033[0m" if sys.stdout.isatty() else f"\n[{seconds:5.0f} s] {text}",
              flush=True)
        self.report["steps"].append({"title": text, "startSeconds": round(seconds, 1)})

    def run(self, who: str | None, *words: str, allow: tuple[int, ...] = (0,)) -> Any:
        """One command with -o json; its document. Raises Step on another exit status."""
        environment = dict(os.environ)
        if who is not None:
            environment["ONCOMESH_CONTEXT"] = str(self.mesh / "contexts" / f"{who}.json")
        done = subprocess.run([str(PROGRAM), "-o", "json", "--quiet", *words], env=environment,
                              capture_output=True, text=True, check=False)
        if done.returncode not in allow:
            raise Step(f"`oncomesh {' '.join(words)}` as {who or 'nobody'} ended with {done.returncode}:\n"
                       f"{done.stderr.strip()}")
        if not done.stdout.strip():
            return {"stderr": done.stderr}
        document = json.loads(done.stdout)
        if isinstance(document, dict):
            document["_status"] = done.returncode
        return document

    def refused(self, who: str, *words: str) -> str:
        """The reason with which a command that must fail fails."""
        document = self.run(who, *words, allow=(1, 3))
        for line in document.get("stderr", "").splitlines():
            if line.startswith("error: "):
                return str(line.split(":")[1].strip())
        return "REFUSED"


def install_trainers(journey: Journey, nodes: list[str]) -> str:
    """Puts the trainer on every node's shelf; its digest as the nodes compute it."""
    source = ROOT / "trainers" / TRAINER
    for node in nodes:
        target = journey.mesh / node / "trainers" / TRAINER
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(source)}\n"
             for path in sorted(source.rglob("*"), key=lambda p: str(p.relative_to(source)).encode())
             if path.is_file() and "__pycache__" not in path.parts]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def make_plan(datasets: list[str], digest: str, modalities: list[str], roi: str) -> dict[str, Any]:
    """The plan of trainers/README.md for these modalities: nine features each, one more per pair."""
    features = 9 * len(modalities) + len(modalities) * (len(modalities) - 1) // 2
    return {
        "name": "Tumour voxels of " + "/".join(modalities),
        "strategy": "NEWTON",
        "rounds": 15,
        "datasets": datasets,
        "roundDeadline": "900s",
        "trainer": {"name": TRAINER, "digest": digest},
        "caseInputs": {"modalities": modalities, "roi": roi, "spacing": [4, 4, 4]},
        "model": {"tensors": {"intercept": {"shape": [1]}, "weights": {"shape": [features]}}},
        "statistics": {"tensors": {"count": {"shape": [1]}, "sum": {"shape": [features]},
                                   "sum_of_squares": {"shape": [features]}}},
        "step": {"l2": 1e-6, "unregularised": ["intercept"]},
        "hyperparameters": {"threshold": 0.25},
        "metrics": ["loss", "auc", "dice"],
        "evaluate": {"heldOut": 0.34, "salt": "demo"},
    }


def train(journey: Journey, path: Path, permit: str) -> dict[str, Any]:
    """Submits the plan and waits for its end; what `run show` says then."""
    run = journey.run("researcher", "run", "submit", str(path), "--permit", permit)
    name = run["name"]
    deadline = time.monotonic() + 1200
    while True:
        shown: dict[str, Any] = journey.run("researcher", "run", "show", name)
        if shown["state"] in ("SUCCEEDED",):
            return shown
        if shown["state"] in ("FAILED", "CANCELLED"):
            raise Step(f"the run {name} ended as {shown['state']}: {json.dumps(shown)[:2000]}")
        if time.monotonic() > deadline:
            raise Step(f"the run {name} is still {shown['state']} after 20 minutes")
        time.sleep(0.5)


def ingest(journey: Journey, folders: dict[str, Path]) -> None:
    journey.title("Hospital staff send identified DICOM and a clinical table; only clean objects stay")
    total = {"read": 0, "released": 0, "quarantined": 0}
    for node, folder in folders.items():
        done = journey.run(f"holder-{node}", "ingest", str(folder), allow=(0, 3))
        counts = done["objects"]
        journey.report.setdefault("deidentification", {})[node] = {"objects": counts, "seconds": done.get("seconds")}
        reasons = sorted({entry["reason"] for entry in done.get("quarantine", [])})
        journey.say(f"  {node:>8}: {counts['read']} objects read, {counts['released']} released, "
                    f"{counts['quarantined']} in quarantine{' (' + ', '.join(reasons) + ')' if reasons else ''}")
        for key in total:
            total[key] += counts[key]
    if total["released"] == 0:
        raise Step("nothing was released")


def freeze(journey: Journey, nodes: list[str], modalities: list[str]) -> list[str]:
    journey.title("Each node indexes what it holds; holders freeze a dataset and publish its record")
    wanted = ", ".join(f'"{name}"' for name in [*modalities, "RTSTRUCT"])
    names = []
    for node in nodes:
        made = journey.run(f"holder-{node}", "dataset", "create", "sarcoma", "--title", f"Tumour imaging of {node}",
                           "--where", f"modality in ({wanted})", "--duo", "DUO:0000042")
        published = journey.run(f"holder-{node}", "dataset", "publish", "sarcoma")
        names.append(made["name"])
        journey.say(f"  {made['name']}  digest {made['digest'][:16]}…  {published.get('state', '')}")
    shown = journey.run("researcher", "datasets", "list")
    listed = [entry["name"] for entry in shown["datasets"]]
    journey.say(f"  the researcher sees {len(listed)} datasets")
    journey.report["datasets"] = listed
    missing = [name for name in names if name not in listed]
    if missing:
        raise Step(f"the hub does not list {missing}")
    return names


def count(journey: Journey, sources: Sources, modality: str) -> None:
    journey.title("The researcher counts a cohort over the hospitals; small numbers are not told")
    expression = f'modality = "{modality}"'
    answer = journey.run("researcher", "count", expression, allow=(0, 3))
    told: dict[str, int | None] = {}
    for entry in answer["nodes"]:
        node = entry["node"]
        least, step = entry["minCell"], entry["rounding"]
        # The first count of a node: nothing but nobody is near it.
        patients = sources.with_modality(node, modality)
        right = (patients + step // 2) // step * step if patients >= 2 * least - 1 else None
        # With too few patients a node does not even say that it has images of a kind.
        silent = entry["state"] == "REFUSED" and {one["reason"] for one in entry["reasons"]} == {"VARIABLE_NOT_HELD"}
        if entry["state"] != "ANSWERED" and not (silent and right is None):
            raise Step(f"{node} did not answer the count: {entry}")
        told[node] = entry["value"]
        journey.say(f"  {node:>8}: " + (f"{told[node]}, to the nearest {step}" if told[node] is not None else
                                        f"not told: fewer than {2 * least - 1} patients (doc/formats/query.md)"))
        if journey.report["data"] == "phantoms" and told[node] != right:
            raise Step(f"{node} has {patients} such patients and tells {told[node]} instead of {right}")
        if right is None and told[node] is not None:
            raise Step(f"{node} tells {told[node]} of {patients} patients, which are too few to be told")
    if set(told) != set(sources.folders):
        raise Step(f"asked were {sorted(sources.folders)}, answered have {sorted(told)}")
    numbers = [value for value in told.values() if value is not None]
    total = answer["total"]
    if total["value"] != (sum(numbers) if numbers else None) or total["masked"] != (len(numbers) < len(told)):
        raise Step(f"the total of {told} is {total}")
    journey.say(f"  patients with {expression}: " + ("no number" if not numbers else
                                                     f"{'at least' if total['masked'] else 'about'} {total['value']}"))
    journey.report["count"] = {"expression": expression, "total": total, "nodes": answer["nodes"]}


def ask(journey: Journey, nodes: list[str], datasets: list[str]) -> str:
    journey.title("She asks for access; each holder decides, then the committee; a permit is issued")
    request = journey.run("researcher", "access", "request", "--datasets", ",".join(datasets), "--purpose", "DUO:0000006",
                          "--title", "Find the tumour in PET/CT", "--operations", "count,train,evaluate",
                          "--until", time.strftime("%Y-%m-%d", time.gmtime(time.time() + 90 * 86400)))
    reason = journey.refused("committee", "access", "decide", request["id"], "--approve", "--reason", "early")
    journey.say(f"  the committee alone cannot: {reason}")
    for node in nodes:
        journey.run(f"holder-{node}", "access", "decide", request["id"], "--approve", "--reason", "fits the consent")
        journey.say(f"  holder of {node}: approved")
    decided = journey.run("committee", "access", "decide", request["id"], "--approve", "--reason", "sound and lawful")
    permit = decided["permitId"]
    journey.run("researcher", "permit", "verify", permit)
    journey.say(f"  committee: {decided['state'].lower()}; {permit} is genuine and in force")
    journey.report["permit"] = permit
    return str(permit)


def allow_trainer(journey: Journey, nodes: list[str], digest: str) -> None:
    journey.title("Each hospital allows this one trainer, by the digest of its files")
    for node in nodes:
        policy = {k: v for k, v in journey.run(f"holder-{node}", "policy", "get").items() if k != "_status"}
        policy["trainerDigests"] = [digest]
        path = journey.mesh / f"policy-{node}.json"
        path.write_text(json.dumps(policy, indent=2))
        journey.run(f"holder-{node}", "policy", "set", str(path))
    journey.say(f"  {TRAINER} {digest[:16]}…")
    journey.report["trainer"] = digest


def learn(journey: Journey, plan: Path, permit: str, model: Path) -> dict[str, Any]:
    journey.title("A federated run: trainers without network at each hospital, exact sums at the hub")
    started = time.monotonic()
    shown = train(journey, plan, permit)
    seconds = time.monotonic() - started
    rounds = shown["rounds"]
    journey.say(f"  {shown['name']}: {shown['state'].lower()} after {len(rounds)} rounds in {seconds:.0f} s")
    for entry in rounds:
        metrics = ", ".join(f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}"
                            for name, value in sorted(entry.get("metrics", {}).items()))
        journey.say(f"    round {entry['number']:>2}: {len(entry.get('contributors', []))} hospitals  {metrics}")
    journey.run("researcher", "run", "model", shown["name"], "--out", str(model), "--force")
    journey.say(f"  the model and its lineage: permit {shown['permit'][:16]}…, manifest {shown['manifestSha256'][:16]}…")
    journey.report["run"] = {"name": shown["name"], "state": shown["state"], "seconds": round(seconds, 1),
                             "rounds": rounds, "permit": shown["permit"], "manifestSha256": shown["manifestSha256"]}
    return shown


def compare(journey: Journey, nodes: list[str], plan: Path, model: Path) -> None:
    journey.title("Each hospital alone, federated, and pooled (possible only because these are demo data)")
    words = [sys.executable, str(ROOT / "tools" / "pooled_reference" / "pooled.py"), "--plan", str(plan),
             "--trainer", str(ROOT / "trainers" / TRAINER), "--federated", str(model), "-o", "json"]
    for node in nodes:
        words += ["--node", f"{node}={prepared_cases(journey, node)}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Step(f"the pooled reference failed:\n{done.stderr.strip()[-2000:]}")
    found = json.loads(done.stdout)
    journey.report["comparison"] = found
    models = list(dict.fromkeys(entry["model"] for entry in found["quality"]))
    journey.say("  on patients held out of every training:")
    for name in models:
        quality = {entry["node"]: entry for entry in found["quality"] if entry["model"] == name}
        journey.say(f"    {name:>14}   " + "   ".join(f"{node}: Dice {quality[node]['dice']:.3f} AUC {quality[node]['auc']:.3f}"
                                                      for node in nodes))
    difference = found["federatedFromPooled"]
    journey.say(f"  the federated weights differ from the pooled ones by {difference:.1e} at most "
                f"({found['examples']} voxels; scikit-learn's own solver by {found['scikitLearnFromPooled']:.1e})")
    if not difference <= 1e-6:
        raise Step(f"the federated weights differ from the pooled ones by {difference}")


def prepared_cases(journey: Journey, node: str) -> Path:
    """The folder of cases that the node made for its trainers."""
    found = sorted((journey.mesh / node / "training" / "cases").glob("*/*/case.json"))
    if not found:
        raise Step(f"{node} keeps no prepared cases")
    return found[-1].parent.parent


def audit(journey: Journey, nodes: list[str]) -> None:
    journey.title("Anyone verifies the audit logs: every event, its root, its signature")
    for site in ["hub", *nodes]:
        verified = journey.run("auditor", "audit", "verify", "--site", site)
        # Whoever may not read the events computes the same root from their hashes.
        by_hashes = journey.run("researcher", "audit", "verify", "--site", site)
        if not (verified["eventsRead"] and by_hashes["verified"] and by_hashes["size"] >= verified["size"]):
            raise Step(f"the log of {site} is not what it was")
        journey.say(f"  {verified['origin']}: {verified['size']} events, root {verified['root'][:16]}…")
        journey.report.setdefault("audit", {})[site] = {"size": verified["size"], "root": verified["root"]}


def nothing_identifying(journey: Journey, sources: Sources) -> None:
    journey.title("Nothing that identifies a patient is in any file of the mesh: objects, databases, logs")
    in_sources = Search(sources.words, numbers=sources.dates)
    # What the sources themselves do not show could not be found elsewhere either.
    sought: set[str] = set()
    for path in sources.samples():
        sought |= in_sources.find(str(path).encode()) | in_sources.find(path.read_bytes())
    if not sought:
        raise Step("the studies name no patient by an ID, a name, a date of birth or a folder that could be searched for")
    search = Search({spelling for word in sought & sources.words.keys() for spelling in sources.words[word]},
                    numbers={spelling for date in sought & sources.dates.keys() for spelling in sources.dates[date]})
    hits: list[str] = []
    files, size = 0, 0
    for path in sorted(journey.mesh.rglob("*")):
        name = str(path.relative_to(journey.mesh))
        if search.find(name.encode()):
            hits.append(name)
        if not path.is_file() or path.is_symlink():
            continue
        content = path.read_bytes()
        files += 1
        size += len(content)
        if search.find(content):
            hits.append(name)
    journey.say(f"  {len(sought)} IDs, names, dates of birth and folders of patients, in any spelling, packed or not: "
                f"{len(hits)} hits in {files} files, {size / 1e6:.0f} MB")
    journey.report["residualSearch"] = {"words": len(sought), "files": files, "bytes": size, "hits": len(hits)}
    if hits:
        raise Step(f"what identifies a patient is in {hits[:5]}")


def revoke(journey: Journey, nodes: list[str], permit: str, plan: Path) -> None:
    journey.title("The permit is revoked; the next run is refused")
    started = time.monotonic()
    revoked = journey.run("committee", "permit", "revoke", permit, "--reason", "the demo ends here", allow=(0, 3))
    seconds = time.monotonic() - started
    told = revoked.get("nodesTold", [])
    journey.say(f"  epoch {revoked['epoch']}; {len(told)} of {len(nodes)} nodes confirmed it within {seconds:.2f} s")
    reasons = {"hub": journey.refused("researcher", "run", "submit", str(plan), "--permit", permit)}
    signed = journey.run("researcher", "permit", "export", permit)["jws"]
    token = journey.mesh / "permit.jws"
    token.write_text(signed)
    for node in nodes:
        reasons[node] = journey.refused(f"holder-{node}", "permit", "verify", str(token))
    for site, reason in reasons.items():
        journey.say(f"  {site:>8}: {reason}")
    journey.report["revocation"] = {"seconds": round(seconds, 3), "epoch": revoked["epoch"], "told": told, "refusals": reasons}
    if set(reasons.values()) != {"PERMIT_REVOKED"}:
        raise Step(f"a site did not refuse for the revocation: {reasons}")


def tell(journey: Journey, arguments: argparse.Namespace, folder: Path) -> None:
    journey.report["data"] = "phantoms" if arguments.data is None else "given"
    data = (arguments.data.resolve() if arguments.data is not None else
            demo_sources.phantoms(folder / "studies", lambda *words: journey.run(None, *words)))
    sources = demo_sources.read(data, arguments.roi)
    nodes = list(sources.folders)
    modalities = sources.modalities
    journey.title(f"A hub and {len(nodes)} hospitals start: {', '.join(nodes)}")
    journey.run(None, "up", "--dir", str(journey.mesh), "--nodes", ",".join(nodes),
                "--trainer-environment", str(ROOT / "build" / "venv"), "--detach")
    status = journey.run("operator", "status")
    journey.say(f"  {len(status['services'])} processes serve over mutual TLS; {len(status['nodes'])} nodes are enrolled")
    digest = install_trainers(journey, nodes)
    ingest(journey, sources.folders)
    datasets = freeze(journey, nodes, modalities)
    count(journey, sources, modalities[0])
    permit = ask(journey, nodes, datasets)
    allow_trainer(journey, nodes, digest)
    plan = journey.mesh / "plan.json"
    plan.write_text(json.dumps(make_plan(datasets, digest, modalities, arguments.roi), indent=2))
    model = folder / "model.safetensors"
    learn(journey, plan, permit, model)
    compare(journey, nodes, plan, model)
    revoke(journey, nodes, permit, plan)
    audit(journey, nodes)
    nothing_identifying(journey, sources)
    journey.say("\nWhere to go on:")
    journey.say(f"  build/release/bin/oncomesh up --dir {journey.mesh}      start this mesh again")
    journey.say(f"  export ONCOMESH_CONTEXT={journey.mesh}/contexts/researcher.json")
    journey.say("  build/release/bin/oncomesh --help                     everything it can do")
    journey.say("  build/venv/bin/python                                 the same from Python: import oncomesh")


def down(mesh: Path) -> None:
    """Stops a mesh. Raises Step when it does not stop: nothing else could stop it without its files."""
    done = subprocess.run([str(PROGRAM), "--quiet", "down", "--dir", str(mesh)], check=False,
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise Step(f"the mesh in {mesh} could not be stopped:\n{done.stderr.strip()}")


def clear(folder: Path) -> None:
    """Stops and removes what an earlier demo left in `folder`. Raises Step when it is not a demo's."""
    mesh, mark = folder / "mesh", folder / MARK
    if mesh.exists():
        if folder != DEFAULT_FOLDER and not mark.exists():
            raise Step(f"{mesh} was not made by tools/demo; move it away or give another --dir")
        if (mesh / "mesh.json").exists():
            down(mesh)
        shutil.rmtree(mesh)
    folder.mkdir(parents=True, exist_ok=True)
    mark.touch()


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/demo", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR",
                        help="identified studies as DIR/<node>/<patient>/…: every folder in DIR is a node (a-z, 0-9, '-'), "
                        "with two patients at least who have CT, an RTSTRUCT with the contour and, when everybody has "
                        "one, a PET; default: phantoms")
    parser.add_argument("--roi", default="GTV_Mass", metavar="NAME", help="the contour of the tumour (default: %(default)s)")
    parser.add_argument("--dir", type=Path, default=DEFAULT_FOLDER, metavar="DIR",
                        help="where the mesh lives; an earlier demo's there is stopped and removed (default: build/demo)")
    parser.add_argument("--keep", action="store_true", help="leave the mesh running")
    parser.add_argument("--report", type=Path, default=ROOT / "demo-report.json", metavar="FILE",
                        help="where the figures go (default: demo-report.json)")
    arguments = parser.parse_args()
    folder: Path = arguments.dir.resolve()
    journey = Journey(folder / "mesh")
    try:
        clear(folder)
    except (Step, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    status = 1
    try:
        tell(journey, arguments, folder)
        status = 0
    except demo_sources.Unfit as error:
        print(f"\nerror: {error}", file=sys.stderr)
    except Step as error:
        print(f"\nerror: {error}", file=sys.stderr)
        print(f"the logs are in {journey.mesh}/<site>/log/", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        status = 130
    if not arguments.keep and (journey.mesh / "mesh.json").exists():
        try:
            down(journey.mesh)
        except Step as error:
            print(f"\nerror: {error}", file=sys.stderr)
            status = status or 1
    journey.report["seconds"] = round(time.monotonic() - journey.started, 1)
    journey.report["passed"] = status == 0
    arguments.report.write_text(json.dumps(journey.report, indent=2) + "\n")
    print(f"\nthe figures are in {arguments.report}")
    return status


if __name__ == "__main__":
    sys.exit(main())

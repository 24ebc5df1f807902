#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What ARCHITECTURE.md says of who may include what, checked over the tree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
INCLUDE = re.compile(r'^\s*#include\s+[<"]([^>"]+)[>"]', re.MULTILINE)
GRPC = re.compile(r"^(grpc/|grpc\+\+/|grpcpp/)|\.grpc\.pb\.h$")
# Files of a service that speak gRPC: its service layer, its clients of other services, its wiring.
SPEAKS_GRPC = re.compile(r"(_service|_clients?|_runtime|file_stream|ingest_call|site_case_provider|site_services|wire|main|_fixture|_test|_contract_test)\.(h|cc)$")
SQL = re.compile(r'"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE)\b')


def sources() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.cc", "*.h"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.split() or [str(p.relative_to(ROOT)) for p in ROOT.rglob("*.cc")]
    return [Path(name) for name in names if (ROOT / name).exists()]


def main() -> int:
    findings: list[str] = []
    files = sources()
    for path in files:
        text = (ROOT / path).read_text(errors="replace")
        parts = path.parts
        includes = INCLUDE.findall(text)
        if not text.startswith("// SPDX-License-Identifier: Apache-2.0") and not text.startswith("// link:"):
            findings.append(f"{path}: no licence line")
        for name in includes:
            if name.startswith("dcmtk/") and parts[:2] != ("libs", "dicom") and parts[0] != "test":
                findings.append(f"{path}: DCMTK outside libs/dicom")
            if name.startswith("itk") and parts[:2] != ("libs", "imaging"):
                findings.append(f"{path}: ITK outside libs/imaging")
            if parts[0] == "services" and name.startswith("services/") and not name.startswith(f"services/{parts[1]}/"):
                findings.append(f"{path}: includes {name} of another service")
            if parts[0] == "libs" and name.startswith(("services/", "tools/")):
                findings.append(f"{path}: a library includes {name}")
            if parts[0] == "services" and parts[1] != "relay" and GRPC.search(name) and not SPEAKS_GRPC.search(path.name):
                findings.append(f"{path}: a core includes {name}")
            # Only to switch off Abseil's search for lock cycles, for the reason that stands there.
            switch = str(path) in ("libs/rpc/service_runner.cc", "tools/bench/bench.cc")
            if name.startswith("absl/log/") or (name == "absl/synchronization/mutex.h" and not switch):
                findings.append(f"{path}: {name} is not used here")
        if SQL.search(text) and not path.name.endswith(("_store.cc", "_test.cc")) and parts[:2] != ("libs", "store") and parts[:2] != ("tools", "bench"):
            findings.append(f"{path}: SQL outside a store")
        if re.search(r"catch \(", text) and not re.search(r"libs/(store|dicom|imaging|rpc|ledger)/|libs/base/parallel|tools/oncomesh|_store\.cc$|_test\.cc$", str(path)):
            findings.append(f"{path}: catches an exception; they are translated where they arise")
    for service in sorted((ROOT / "services").iterdir()):
        if not service.is_dir():
            continue
        for wanted in ("README.md", "main.cc", "wire.cc", "wire.h", "config.proto"):
            if not (service / wanted).exists():
                findings.append(f"services/{service.name}: no {wanted}")
        main_file = service / "main.cc"
        if main_file.exists() and len(main_file.read_text().splitlines()) > 60:
            findings.append(f"{main_file.relative_to(ROOT)}: more than 60 lines")
    for finding in findings:
        print(finding)
    print(f"{len(files)} files looked at, {len(findings)} findings")
    return 1 if findings or not files else 0


if __name__ == "__main__":
    sys.exit(main())

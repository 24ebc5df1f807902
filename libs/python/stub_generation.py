# SPDX-License-Identifier: Apache-2.0
"""Generates the Python stubs of the mesh's protos into the package `oncomesh.stubs`.

    python stub_generation.py DIR      writes DIR/…/v1/…_pb2.py, …_pb2_grpc.py and their .pyi

A proto package `oncomesh.catalogue.v1` becomes the Python package `oncomesh.stubs.catalogue.v1`, so
that generated and hand-written modules never share a folder. `google.rpc` is not generated: two
copies of google/rpc/status.proto in one process are an error of the protobuf runtime, and the
official one (googleapis-common-protos) is wire-compatible with ours.
"""

from __future__ import annotations

import importlib.resources
import re
import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

HERE = Path(__file__).resolve().parent
PROTOS = HERE / "protos"
PACKAGE = "oncomesh.stubs"

_SPDX = "# SPDX-License-Identifier: Apache-2.0\n"
# `from oncomesh.catalogue.v1 import …` and `import oncomesh.catalogue.v1.x_pb2` of the generator.
_IMPORT = re.compile(r"^((?:from|import) )oncomesh\.(?=[a-z_]+\.v\d+)", re.MULTILINE)


def generate(out: Path, protos: Path = PROTOS) -> list[Path]:
    """Writes the stubs of every proto below protos/oncomesh into the folder `out`."""
    from grpc_tools import protoc

    sources = sorted(
        p.relative_to(protos).as_posix() for p in (protos / "oncomesh").rglob("*.proto")
    )
    if not sources:
        raise FileNotFoundError(f"no protos below {protos}/oncomesh")
    for stale in sorted(out.rglob("*.py*"), reverse=True) if out.exists() else []:
        stale.unlink()  # of a proto that is gone
    staging = out.parent / (out.name + ".staging")
    staging.mkdir(parents=True, exist_ok=True)
    descriptors = staging / "descriptors.binpb"
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    status = protoc.main(
        [
            "protoc",
            f"-I{protos}",
            f"-I{well_known}",
            f"--python_out={staging}",
            f"--pyi_out={staging}",
            f"--grpc_python_out={staging}",
            f"--descriptor_set_out={descriptors}",
            *sources,
        ]
    )
    if status != 0:
        raise RuntimeError(f"protoc ended with status {status}")
    written = []
    root = staging / "oncomesh"
    for path in sorted(root.rglob("*.py*")):
        text = _IMPORT.sub(rf"\g<1>{PACKAGE}.", path.read_text())
        if path.name.endswith("_pb2_grpc.py") and "class " not in text:
            continue  # no service
        written.append(_write(out / path.relative_to(root), text))
    files = FileDescriptorSet.FromString(descriptors.read_bytes())
    for file in files.file:
        if file.service:
            stem = Path(file.name).relative_to("oncomesh").with_suffix("")
            path = out / stem.parent / f"{stem.name}_pb2_grpc.pyi"
            written.append(_write(path, _service_types(file, files)))
    for folder in sorted({p.parent for p in written} | {p.parent.parent for p in written} | {out}):
        written.append(_write(folder / "__init__.py", _SPDX))
    _remove(staging)
    return written


def _service_types(file: FileDescriptorProto, files: FileDescriptorSet) -> str:
    """The .pyi of a file's services; protoc makes none for them."""
    modules: dict[str, str] = {}  # full name of a message → its Python name here
    imports: dict[str, str] = {}  # module → alias
    for other in files.file:
        stem = (
            Path(other.name).with_suffix("").as_posix().replace("/", ".").removeprefix("oncomesh.")
        )
        alias = stem.replace(".", "_") + "_pb2"
        for message in other.message_type:
            modules[f".{other.package}.{message.name}"] = f"{alias}.{message.name}"
            imports[alias] = f"{PACKAGE}.{stem}_pb2"
    used: set[str] = set()
    body: list[str] = []

    def name(full: str) -> str:
        found = modules[full]
        used.add(found.split(".")[0])
        return found

    for service in file.service:
        stub = [
            f"class {service.name}Stub:",
            "    def __init__(self, channel: grpc.Channel) -> None: ...",
        ]
        servicer = [f"class {service.name}Servicer:"]
        for method in service.method:
            request, response = name(method.input_type), name(method.output_type)
            kind = ("Stream" if method.client_streaming else "Unary") + (
                "Stream" if method.server_streaming else "Unary"
            )
            stub.append(f"    {method.name}: grpc.{kind}MultiCallable[{request}, {response}]")
            takes = f"Iterator[{request}]" if method.client_streaming else request
            gives = f"Iterator[{response}]" if method.server_streaming else response
            servicer.append(
                f"    def {method.name}(self, request: {takes}, context: grpc.ServicerContext)"
                f" -> {gives}: ..."
            )
        body += [
            *stub,
            "",
            *servicer,
            "",
            f"def add_{service.name}Servicer_to_server("
            f"servicer: {service.name}Servicer, server: grpc.Server) -> None: ...",
            "",
        ]
    head = [_SPDX.rstrip(), "from collections.abc import Iterator", "", "import grpc", ""]
    head += [f"import {imports[alias]} as {alias}" for alias in sorted(used)]
    return "\n".join([*head, "", *body])


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: stub_generation.py DIR")
    print(f"{len(generate(Path(sys.argv[1])))} files")

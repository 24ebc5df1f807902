# SPDX-License-Identifier: Apache-2.0
"""What the mesh holds: datasets, variables and counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from oncomesh.display import Shown, html_table, text_of, text_table, time_of
from oncomesh.stubs.catalogue.v1 import catalogue_pb2
from oncomesh.stubs.query.v1 import query_pb2

HIDDEN = "hidden"


@dataclass(frozen=True, repr=False)
class Dataset(Shown):
    """A frozen version of a hospital's dataset. None stands for a number that is hidden."""

    name: str  # "nodes/lisbon/datasets/sarcoma/versions/1"
    title: str
    description: str
    node: str
    version: int
    duo_codes: tuple[str, ...]
    where: str
    patients: int | None
    studies: int | None
    series: int | None
    digest: str
    published: datetime | None
    values: tuple[tuple[str, str, int], ...]  # variable, value, patients

    @classmethod
    def of(cls, record: catalogue_pb2.DatasetRecord) -> Dataset:
        """From the wire."""
        parts = record.name.split("/")
        numbers = record.statistics
        return cls(
            name=record.name,
            title=record.title,
            description=record.description,
            node=parts[1] if len(parts) > 1 else "",
            version=int(parts[-1]) if parts[-1].isdigit() else 0,
            duo_codes=tuple(record.duo_codes),
            where=record.where,
            patients=numbers.patients if numbers.HasField("patients") else None,
            studies=numbers.studies if numbers.HasField("studies") else None,
            series=numbers.series if numbers.HasField("series") else None,
            digest=record.digest,
            published=time_of(record.publish_time),
            values=tuple((v.variable, v.value, v.patients) for v in numbers.values),
        )

    def _title(self) -> str:
        return self.title or self.name

    def _facts(self) -> list[tuple[str, object]]:
        return [
            ("name", self.name),
            ("description", self.description),
            ("uses", self.duo_codes),
            ("where", self.where),
            ("patients", _or_hidden(self.patients)),
            ("studies", _or_hidden(self.studies)),
            ("series", _or_hidden(self.series)),
            ("digest", self.digest[:16]),
            ("published", self.published),
            *((variable, f"{value}: {n}") for variable, value, n in self.values),
        ]


DATASET_COLUMNS = [
    ("dataset", lambda d: d.name),
    ("title", lambda d: d.title),
    ("patients", lambda d: _or_hidden(d.patients)),
    ("studies", lambda d: _or_hidden(d.studies)),
    ("uses", lambda d: d.duo_codes),
    ("published", lambda d: d.published),
]


@dataclass(frozen=True)
class Variable:
    """A variable of the query language."""

    name: str
    level: str  # "patient", "study", "series"
    type: str  # "code", "integer", "decimal", "year"
    unit: str
    description: str
    codes: tuple[tuple[str, str], ...]  # code and label, of those that are listed

    @classmethod
    def of(cls, info: catalogue_pb2.VariableInfo) -> Variable:
        """From the wire."""
        return cls(
            info.name,
            query_pb2.Level.Name(info.level).removeprefix("LEVEL_").lower(),
            info.type,
            info.unit,
            info.description,
            tuple((c.code, c.label) for c in info.values),
        )


VARIABLE_COLUMNS = [
    ("variable", lambda v: v.name),
    ("level", lambda v: v.level),
    ("type", lambda v: v.type),
    ("unit", lambda v: v.unit),
    ("values", lambda v: [code for code, _ in v.codes[:8]] + (["…"] if len(v.codes) > 8 else [])),
    ("description", lambda v: v.description),
]


@dataclass(frozen=True)
class NodeCount:
    """One node's answer. `value` None: hidden, or not given for the `reasons`."""

    node: str
    state: str  # "ANSWERED", "PARTLY", "REFUSED", "UNREACHABLE"
    value: int | None
    groups: tuple[tuple[tuple[str | None, ...], int | None], ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Count:
    """How many patients match, over the mesh.

    `total` is the sum of what nodes told; with `masked` it is a lower bound, because a node's
    number is missing, hidden or answers only a part of the question.
    """

    text: str  # the question in its canonical form
    by: tuple[str, ...]
    total: int | None
    masked: bool
    nodes: tuple[NodeCount, ...]

    @classmethod
    def of(cls, answer: catalogue_pb2.CountResponse) -> Count:
        """From the wire."""
        nodes = []
        for n in answer.nodes:
            groups = tuple(
                (
                    tuple(k.value if k.HasField("value") else None for k in g.key),
                    g.value if g.HasField("value") else None,
                )
                for g in n.groups
            )
            nodes.append(
                NodeCount(
                    node=n.node,
                    state=catalogue_pb2.NodeCount.State.Name(n.state).removeprefix("STATE_"),
                    value=n.value if n.HasField("value") else None,
                    groups=groups,
                    reasons=tuple(
                        " ".join(filter(None, (r.reason, r.part, r.message))) for r in n.reasons
                    ),
                )
            )
        return cls(
            answer.text,
            tuple(answer.by),
            answer.total if answer.HasField("total") else None,
            answer.masked,
            tuple(nodes),
        )

    def __int__(self) -> int:
        if self.total is None:
            raise ValueError("no node gave a number")
        return self.total

    def groups(self) -> dict[tuple[str | None, ...], int]:
        """Sums over the nodes by the values of `by`; groups that every node hides are left out."""
        sums: dict[tuple[str | None, ...], int] = {}
        for node in self.nodes:
            for key, value in node.groups:
                if value is not None:
                    sums[key] = sums.get(key, 0) + value
        return sums

    def __repr__(self) -> str:
        return text_table(*self._cells())

    def _repr_html_(self) -> str:
        return html_table(*self._cells())

    def _cells(self) -> tuple[str, list[str], list[list[object]]]:
        bound = "at least " if self.masked and self.total is not None else ""
        total = "no number" if self.total is None else bound + text_of(self.total)
        keys = list(dict.fromkeys(key for node in self.nodes for key, _ in node.groups))
        heads = ["node", "state", "patients", *(_key(k) for k in keys), "remarks"]
        rows: list[list[object]] = []
        for node in self.nodes:
            given = dict(node.groups)
            answered = node.state in ("ANSWERED", "PARTLY")
            value = _or_hidden(node.value) if answered else ""
            row: list[object] = [node.node, node.state.lower(), value]
            row += [_or_hidden(given[k]) if k in given else "" for k in keys]
            rows.append([*row, node.reasons])
        return f"{self.text}: {total}", heads, rows


def _or_hidden(value: int | None) -> int | str:
    return HIDDEN if value is None else value


def _key(values: tuple[str | None, ...]) -> str:
    return " / ".join("unknown" if v is None else v for v in values)

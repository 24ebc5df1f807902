# SPDX-License-Identifier: Apache-2.0
"""The clinical table of a hospital and its images are of the same patients."""

from __future__ import annotations

from mesh_testing.mesh import Mesh


def test_a_row_of_the_table_is_of_the_patient_with_the_images(
    mesh: Mesh, datasets: dict[str, str]
) -> None:
    def counted(expression: str) -> dict[str, int]:
        document = mesh.ask("researcher", "count", expression)
        return {entry["node"]: int(entry["value"]) for entry in document["nodes"]}

    everybody = dict.fromkeys(datasets, 3)
    # The table alone says whether somebody lives, the images alone what made them.
    told = '(vital_status = "alive" or vital_status = "dead")'
    assert counted(told) == everybody
    assert counted(f'modality = "CT" and {told}') == everybody
    # Nobody is there twice.
    assert counted("all") == everybody

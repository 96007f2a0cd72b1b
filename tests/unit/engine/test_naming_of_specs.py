"""What folders and clusters of several specs are called in one run."""

from __future__ import annotations

from pathlib import Path

from koalesce.engine.naming import names_of
from koalesce.providers.naming import check_name
from koalesce.spec import load_all

RUN = "20261122-180102-a1b2c"
SPEC = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {{name: {name}}}
{more}
tests: [{{name: t, steps: [{{wait-for: {{resource: namespace/default, exists: true}}}}]}}]
"""


def names(folder: Path, *specs: tuple[str, str]) -> list[tuple[str, list[str]]]:
    paths = [folder / f"{number}.yaml" for number in range(len(specs))]
    for path, (name, more) in zip(paths, specs, strict=True):
        path.write_text(SPEC.format(name=name, more=more))
    return [(each.folder, list(each.clusters.values())) for each in names_of(load_all(paths), RUN)]


def test_specs_of_one_name_are_numbered(tmp_path: Path) -> None:
    assert names(tmp_path, ("dns", ""), ("dns", ""), ("other", "")) == [
        ("dns", ["dns-a1b2c"]),
        ("dns-2", ["dns-2-a1b2c"]),
        ("other", ["other-a1b2c"]),
    ]


def test_a_number_is_left_out_where_another_spec_has_the_name_that_it_makes(tmp_path: Path) -> None:
    assert names(tmp_path, ("dns-2", ""), ("dns", ""), ("dns", "")) == [
        ("dns-2", ["dns-2-a1b2c"]),
        ("dns", ["dns-a1b2c"]),
        ("dns-3", ["dns-3-a1b2c"]),
    ]


def test_names_that_begin_alike_still_make_clusters_apart(tmp_path: Path) -> None:
    (_, [one]), (_, [other]) = names(tmp_path, ("kube-router-policies", ""), ("kube-router-ports", ""))

    assert one == "kube-router-po-a1b2c"
    assert other == "kube-router-2-a1b2c"


def test_cells_whose_values_look_alike_are_told_apart(tmp_path: Path) -> None:
    found = names(tmp_path, ("m", "matrix: {v: [x.y, x-y]}"), ("m-v-x-y", ""))

    clusters = [cluster for _, each in found for cluster in each]
    assert len({folder for folder, _ in found}) == len(set(clusters)) == 3
    for cluster in clusters:
        check_name(cluster)


def test_each_cluster_of_each_spec_has_a_name_of_its_own(tmp_path: Path) -> None:
    two = "clusters: {east: {nodes: 0}, west: {nodes: 0}}"

    assert [clusters for _, clusters in names(tmp_path, ("pair", two), ("pair", two))] == [
        ["pair-east-a1b2c", "pair-west-a1b2c"],
        ["pair-east-2-a1b2c", "pair-west-2-a1b2c"],
    ]

"""What `validate` knows of the fields in expressions is what a run gives them."""

from __future__ import annotations

from koalesce.cluster import Fixture
from koalesce.engine.provision import cluster_values
from koalesce.spec import known_fields
from tests.fakes import FakeCluster, FakeNode, context


def test_expressions_may_name_what_there_will_be() -> None:
    cluster = FakeCluster(nodes=[FakeNode("worker-1")])
    cluster.fixtures = (Fixture(name="c1", address="198.18.0.9", exec=()),)

    values = cluster_values(context(cluster).cluster)

    assert sorted(values["cluster"]) == sorted(known_fields.CLUSTER)
    assert sorted(values["nodes"][0]) == sorted(known_fields.NODE)
    assert sorted(values["fixtures"]["c1"]) == sorted(known_fields.FIXTURE)

"""YAML with positions, read by rules of our own: YAML 1.2 for specs, kubectl's rules for manifests."""

from koalesce.yaml.manifests import Manifest, load_manifests, parse_manifests
from koalesce.yaml.nodes import Node, Path
from koalesce.yaml.problems import InvalidDocument, Position, Problem, did_you_mean, format_problems
from koalesce.yaml.reader import Limits, Rules, read

__all__ = [
    "InvalidDocument",
    "Limits",
    "Manifest",
    "Node",
    "Path",
    "Position",
    "Problem",
    "Rules",
    "did_you_mean",
    "format_problems",
    "load_manifests",
    "parse_manifests",
    "read",
]

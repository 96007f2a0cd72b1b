"""Specs: their models, their loader, and everything that can be said about them before anything runs."""

from koalesce.spec.discovery import discover, is_spec
from koalesce.spec.entries import BoundStep, StepEntry, StepInvalid
from koalesce.spec.loaded import LoadedSpec
from koalesce.spec.loader import InvalidSpecs, SharedFileNamed, load, load_all, load_cells
from koalesce.spec.models import Spec, Test
from koalesce.yaml.problems import Problem, format_problems

__all__ = [
    "BoundStep",
    "InvalidSpecs",
    "LoadedSpec",
    "Problem",
    "SharedFileNamed",
    "Spec",
    "StepEntry",
    "StepInvalid",
    "Test",
    "discover",
    "format_problems",
    "is_spec",
    "load",
    "load_all",
    "load_cells",
]

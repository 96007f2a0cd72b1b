"""What is known of a test before there is a cluster: whether it's skipped whatever the cluster will be like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from koalesce.expressions import ExpressionError, resolve
from koalesce.spec.conditions import Condition
from koalesce.spec.loaded import LoadedSpec
from koalesce.spec.models import Test
from koalesce.spec.variables import is_known

_OF_THE_CLUSTER = ("version", "capability")  # fields of a condition


def foreseen_skip(loaded: LoadedSpec, test: Test) -> str:
    """Why a test is skipped on any cluster: it says so, or the value of its `if` is known and doesn't fit. Empty where it may run.

    What asks the cluster, or takes outputs of other steps, is found out when the test's turn has come; so is what is wrong with a condition.
    """
    if test.skip:
        return test.skip
    condition = _known_condition(loaded, test)
    return (condition.unmet_value() or "") if condition is not None else ""


def _known_condition(loaded: LoadedSpec, test: Test) -> Condition | None:
    """The part of its `if` that no cluster has a say in; None where there is none, or it isn't known yet."""
    if test.condition is None:
        return None
    origin = loaded.origin(test)
    whole: Mapping[str, Any] = loaded.source.document.value["tests"][origin.index]["if"]
    written = {field: value for field, value in whole.items() if field not in _OF_THE_CLUSTER}
    scope = {"vars": origin.variables, "env": loaded.env, "matrix": loaded.test_matrix(test)}
    if not written or not is_known(written, scope):
        return None
    try:
        return Condition.model_validate(resolve(written, scope))
    except (ExpressionError, ValidationError):
        return None

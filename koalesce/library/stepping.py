"""One step on a cluster that is up, for a program."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from koalesce import engine
from koalesce.engine import RunOptions
from koalesce.events import Status
from koalesce.library.one_step import spec_of
from koalesce.library.results import StepResult, folded
from koalesce.library.running import consume


def run_step(
    step: str | Mapping[str, Any], cluster: str, namespace: str, *, disruptive: bool = False
) -> tuple[StepResult | None, Status, str]:
    """Run it as the only one of a test in that namespace: its result, if it got so far, how the test ended, and what there is to say."""
    text = step if isinstance(step, str) else json.dumps(step, ensure_ascii=False)
    with spec_of(text, cluster, namespace=namespace, disruptive=disruptive) as path:
        options = RunOptions(paths=(str(path),), cluster=cluster, trust=True)
        run = folded(consume(engine.run, options, lambda event: None))
    (test,) = run.tests
    said = [problem.explanation for problem in run.problems]
    explanation = "\n".join([*said, *([test.explanation] if test.explanation else [])])
    explanation = re.sub(rf"{re.escape(str(path))}:\d+: ", "", explanation)  # the file is ours, and gone
    status = run.status if test.status in ("passed", "skipped") else test.status
    return next((each for each in test.steps if each.section == "steps"), None), status, explanation

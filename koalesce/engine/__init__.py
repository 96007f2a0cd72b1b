"""Plan, run and tear down: a generator of events."""

from koalesce.engine.making import up
from koalesce.engine.options import RunOptions
from koalesce.engine.runner import run
from koalesce.engine.spec_run import provision

__all__ = ["RunOptions", "provision", "run", "up"]

"""Plan, run and tear down: a generator of events."""

from koalesce.engine.options import RunOptions
from koalesce.engine.runner import run
from koalesce.engine.spec_run import provision
from koalesce.engine.up import up

__all__ = ["RunOptions", "provision", "run", "up"]

"""Plan, run and tear down: a generator of events."""

from koalesce.engine.making import up
from koalesce.engine.options import RunOptions
from koalesce.engine.provision import provision
from koalesce.engine.runner import run

__all__ = ["RunOptions", "provision", "run", "up"]

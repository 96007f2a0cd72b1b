"""Plan, run and tear down: a generator of events."""

from koalesce.engine.making import up
from koalesce.engine.options import RunOptions
from koalesce.engine.provision import provision
from koalesce.engine.runner import prepare, run
from koalesce.engine.selection import Selected

__all__ = ["RunOptions", "Selected", "prepare", "provision", "run", "up"]

"""The step types, by their keys in specs."""

from koalesce.steps.base import Step
from koalesce.steps.connectivity import Connectivity
from koalesce.steps.curl import Curl
from koalesce.steps.exec import Exec
from koalesce.steps.script import Script

STEPS: dict[str, type[Step]] = {
    "connectivity": Connectivity,
    "curl": Curl,
    "exec": Exec,
    "script": Script,
}

"""The step types, by their keys in specs."""

from koalesce.steps.annotate import Annotate
from koalesce.steps.apply import Apply
from koalesce.steps.assert_ import Assert
from koalesce.steps.background import InBackground
from koalesce.steps.base import Step
from koalesce.steps.connectivity import Connectivity
from koalesce.steps.copy import Copy
from koalesce.steps.create import Create
from koalesce.steps.curl import Curl
from koalesce.steps.delete import Delete
from koalesce.steps.dns import Dns
from koalesce.steps.events import Events
from koalesce.steps.exec import Exec
from koalesce.steps.jsonpath import JsonPath
from koalesce.steps.label import Label
from koalesce.steps.logs import Logs
from koalesce.steps.metrics import Metrics
from koalesce.steps.patch import Patch
from koalesce.steps.port_forward import PortForward
from koalesce.steps.restarts import Restarts
from koalesce.steps.rollout_step import Rollout
from koalesce.steps.scale import Scale
from koalesce.steps.script import Script
from koalesce.steps.sleep import Sleep
from koalesce.steps.stop import Stop
from koalesce.steps.tcp import Tcp
from koalesce.steps.udp import Udp
from koalesce.steps.unchanged import Unchanged
from koalesce.steps.update import Update
from koalesce.steps.use import Use
from koalesce.steps.wait_for import WaitFor

STEPS: dict[str, type[Step]] = {
    "annotate": Annotate,
    "apply": Apply,
    "assert": Assert,
    "background": InBackground,
    "connectivity": Connectivity,
    "copy": Copy,
    "create": Create,
    "curl": Curl,
    "delete": Delete,
    "dns": Dns,
    "events": Events,
    "exec": Exec,
    "jsonpath": JsonPath,
    "label": Label,
    "logs": Logs,
    "metrics": Metrics,
    "patch": Patch,
    "port-forward": PortForward,
    "restarts": Restarts,
    "rollout": Rollout,
    "scale": Scale,
    "script": Script,
    "sleep": Sleep,
    "stop": Stop,
    "tcp": Tcp,
    "udp": Udp,
    "unchanged": Unchanged,
    "update": Update,
    "use": Use,
    "wait-for": WaitFor,
}

"""How a step of each type is written, in its shortest form: shown where one has the wrong shape."""

from __future__ import annotations

from collections.abc import Mapping

SAMPLES: Mapping[str, str] = {
    "annotate": "{resource: pod/web, annotations: {example.com/a: b}}",
    "apply": "web.yaml",
    "assert": "{resource: deployment/web, match: {status: {readyReplicas: 1}}}",
    "background": "{id: pinging, run: {exec: {pod: client, command: [ping, web]}}}",
    "bgp": "{fixture: r1, sessions: {match: {name: worker-1, state: Established}}}",
    "chaos": "{stop: {node: worker-1, component: kubelet}}",
    "connectivity": "{from: {pod: client}, to: {pod: web, port: 80}}",
    "copy": "{from: data.txt, to: {pod: web, path: /tmp/data.txt}}",
    "create": "web.yaml",
    "curl": '{from: {pod: client}, url: "http://web", status: 200}',
    "delete": "pod/web",
    "dns": "{from: {pod: client}, name: web.default.svc.cluster.local}",
    "events": "{for: pod/web, reason: Scheduled}",
    "exec": "{pod: web, command: [cat, /etc/hostname]}",
    "jsonpath": '{resource: pod/web, path: "{.status.phase}", equals: Running}',
    "label": "{resource: pod/web, labels: {a: b}}",
    "logs": "{pod: web, contains: ready}",
    "metrics": "{pod: web, port: 9090, name: requests_total, value: {ge: 1}}",
    "network-policy": "{suite: upstream, tags: [ingress]}",
    "node-state": "{nodes: all, links: {match: {ifname: eth0, operstate: UP}}}",
    "nodes": "{drain: {node: worker-1}}",
    "patch": "{resource: deployment/web, merge: {spec: {replicas: 2}}}",
    "port-forward": "{id: web, pod: web, port: 80}",
    "restarts": "{pods: {selector: app=web}, max: 0}",
    "rollout": "{resource: deployment/web, restart: true}",
    "scale": "{resource: deployment/web, replicas: 2}",
    "script": "kubectl get pods",
    "sleep": "5s",
    "snapshot": "{id: before, of: [routes, iptables]}",
    "stop": "pinging",
    "tcp": "{from: {pod: client}, to: {pod: web, port: 80}}",
    "udp": "{from: {pod: client}, to: {pod: web, port: 53}}",
    "unchanged": "{resource: pods, selector: app=web, path: .status.podIP}",
    "update": "web.yaml",
    "use": "shared/steps.yaml#reachable",
    "wait-for": "{resource: pod/web, condition: Ready}",
}

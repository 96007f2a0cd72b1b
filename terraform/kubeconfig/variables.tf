# Written by `koalesce contract --write` from the contract; the type of settings is this root's own.

variable "name" {
  description = "Name of the cluster, unique among the running ones of a user."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "name must match ^[a-z][a-z0-9-]{0,18}[a-z0-9]$."
  }
}

variable "run_id" {
  description = "Run that the cluster belongs to; part of every resource's name or tags."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9-]+$", var.run_id))
    error_message = "run_id must match ^[a-z0-9-]+$."
  }
}

variable "kubernetes_version" {
  description = "Exact Kubernetes version, such as 1.37.2."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^1\\.[0-9]+\\.[0-9]+$", var.kubernetes_version))
    error_message = "kubernetes_version must match ^1\\.[0-9]+\\.[0-9]+$."
  }
}

variable "nodes" {
  description = "Nodes to make, control plane first; role is control-plane or worker, cpu counts processors and memory bytes (0: the provider's choice), subnet is the network of its address (empty: the provider's choice), kubelet has fields of KubeletConfiguration as JSON, disks are file systems of a size in bytes, spare ones are kept aside until they are added."
  type        = list(object({ name = string, role = string, labels = optional(map(string), {}), taints = optional(list(object({ key = string, value = optional(string, ""), effect = string })), []), cpu = optional(number, 0), memory = optional(number, 0), subnet = optional(string, ""), kubelet = optional(string, ""), disks = optional(list(object({ path = string, size = number })), []), spare = optional(bool, false) }))
  nullable    = false
}

variable "fixtures" {
  description = "Machines outside of the cluster to make, in the nodes' network; kind is host, router or resolver, subnet is the network of its address (empty: the provider's choice), router says what a router does as JSON (program, asn, peers …), resolver what a resolver knows (zones, ttl)."
  type        = list(object({ name = string, kind = string, subnet = optional(string, ""), router = optional(string, ""), resolver = optional(string, "") }))
  default     = []
  nullable    = false
}

variable "network" {
  description = "Pod network: bridge (built in, with routes between nodes) or none (left to a component)."
  type        = string
  default     = "bridge"
  nullable    = false

  validation {
    condition     = contains(["bridge", "none"], var.network)
    error_message = "network must be one of bridge, none."
  }
}

variable "kube_proxy" {
  description = "Mode of kube-proxy: iptables, nftables, ipvs or none."
  type        = string
  default     = "iptables"
  nullable    = false

  validation {
    condition     = contains(["iptables", "nftables", "ipvs", "none"], var.kube_proxy)
    error_message = "kube_proxy must be one of iptables, nftables, ipvs, none."
  }
}

variable "dns" {
  description = "Cluster DNS: coredns or none (left to a component, at the address of the output dns_ip)."
  type        = string
  default     = "coredns"
  nullable    = false

  validation {
    condition     = contains(["coredns", "none"], var.dns)
    error_message = "dns must be one of coredns, none."
  }
}

variable "pod_cidr" {
  description = "Range of pod addresses, or one of each family in the order of ip_families, joined by a comma."
  type        = string
  default     = "10.244.0.0/16"
  nullable    = false
}

variable "service_cidr" {
  description = "Range of Service addresses, or one of each family in the order of ip_families, joined by a comma."
  type        = string
  default     = "10.96.0.0/16"
  nullable    = false
}

variable "ip_families" {
  description = "IP families, the primary one first: IPv4, IPv6."
  type        = list(string)
  default     = ["IPv4"]
  nullable    = false
}

variable "egress" {
  description = "Way out of the cluster: none or host (through the machine that it runs on)."
  type        = string
  default     = "none"
  nullable    = false

  validation {
    condition     = contains(["none", "host"], var.egress)
    error_message = "egress must be one of none, host."
  }
}

variable "etcd" {
  description = "Datastore: mode is process, static or external; members on as many control planes (0: on each), or on fixtures; ca, cert and key are files, for external endpoints."
  type        = object({ mode = optional(string, "process"), members = optional(number, 0), fixtures = optional(list(string), []), endpoints = optional(list(string), []), ca = optional(string, ""), cert = optional(string, ""), key = optional(string, "") })
  default     = {}
  nullable    = false
}

variable "control_plane" {
  description = "How the control plane runs: process or static (pods)."
  type        = string
  default     = "process"
  nullable    = false

  validation {
    condition     = contains(["process", "static"], var.control_plane)
    error_message = "control_plane must be one of process, static."
  }
}

variable "feature_gates" {
  description = "Kubernetes feature gates, for every component."
  type        = map(bool)
  default     = {}
  nullable    = false
}

variable "runtime_config" {
  description = "API groups and versions to serve or not: the API server's --runtime-config."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "component_args" {
  description = "Further arguments by component (apiserver, controller-manager, scheduler, kubelet, kube-proxy, etcd), names without dashes."
  type        = map(map(string))
  default     = {}
  nullable    = false
}

variable "audit_policy" {
  description = "Text of the API server's audit policy; empty: nothing is audited."
  type        = string
  default     = ""
  nullable    = false
}

variable "admission_configuration" {
  description = "Text of the API server's AdmissionConfiguration; empty: its plugins have their defaults."
  type        = string
  default     = ""
  nullable    = false
}

variable "registries" {
  description = "Registries whose images only one user may pull; what is asked protects nothing."
  type        = list(object({ name = string, username = string, password = string }))
  default     = []
  nullable    = false
}

variable "addons" {
  description = "What the cluster has besides: load-balancer, local-path, metrics-server."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "images" {
  description = "References of images that the nodes must be able to run."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "preload" {
  description = "Those of the images that must be on every node before the cluster counts as up."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "pki_dir" {
  description = "Folder of the certificates and keys; empty: made below state_dir."
  type        = string
  default     = ""
  nullable    = false
}

variable "state_dir" {
  description = "Folder for the cluster's files (kubeconfig, logs, sockets); empty: the folder cluster beside this root."
  type        = string
  default     = ""
  nullable    = false
}

variable "koalesce_command" {
  description = "Command that runs Koalesce."
  type        = list(string)
  default     = ["koalesce"]
  nullable    = false
}

variable "settings" {
  description = "What only this provider knows."
  type        = object({ context = optional(string, ""), kubeconfig = optional(string, ""), allow_disruption = optional(bool, false), allow_node_exec = optional(bool, false), node_exec_image = optional(string, ""), pod_probes = optional(string, ""), probe_image = optional(string, "") })
  default     = {}
  nullable    = false
}

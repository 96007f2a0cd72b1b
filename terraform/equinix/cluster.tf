# Written by `koalesce contract --write`: how machines become a cluster, the same for every provider that makes them. Its main.tf says
# what local.provider, local.machines and local.boot are.

locals {
  state_dir = var.state_dir != "" ? var.state_dir : "${abspath(path.root)}/cluster"

  request = {
    name                    = var.name
    run_id                  = var.run_id
    provider                = local.provider
    kubernetes_version      = var.kubernetes_version
    nodes                   = var.nodes
    network                 = var.network
    kube_proxy              = var.kube_proxy
    dns                     = var.dns
    pod_cidr                = var.pod_cidr
    service_cidr            = var.service_cidr
    ip_families             = var.ip_families
    etcd                    = var.etcd
    control_plane           = var.control_plane
    feature_gates           = var.feature_gates
    runtime_config          = var.runtime_config
    component_args          = var.component_args
    images                  = distinct(concat(var.images, var.preload))
    audit_policy            = var.audit_policy
    admission_configuration = var.admission_configuration
    pki_dir                 = var.pki_dir
    state_dir               = local.state_dir
    settings                = var.settings
  }

  # To be on everything that is made: by these it is found without Terraform's state.
  marks = {
    koalesce-cluster = var.name
    koalesce-run     = var.run_id
    koalesce-expires = terraform_data.expiry.output
  }

  # Written when the cluster is up, hence read only then; gone with the cluster, when the outputs no longer matter.
  cluster = try(jsondecode(file("${terraform_data.cluster.output.state_dir}/outputs.json")), {
    nodes           = []
    fixtures        = []
    kubeconfig_path = ""
    api_endpoint    = ""
    capabilities    = []
    dns_ip          = ""
    host_exec       = []
  })
}

# Removes our own files; made at once, so that it is always destroyed, and after all else.
resource "terraform_data" "guard" {
  triggers_replace = local.request

  input = {
    name        = var.name
    interpreter = concat(var.koalesce_command, ["machines", "forget"])
  }

  provisioner "local-exec" {
    when        = destroy
    interpreter = self.input.interpreter
    command     = self.input.name
  }

  lifecycle {
    precondition {
      condition     = length([for node in var.nodes : node if node.role == "control-plane"]) == 1 && length(var.etcd.fixtures) == 0
      error_message = "nodes: one of them, and no other, has the role control-plane, where machines become nodes; several control planes, and an etcd on fixtures, are of the provider local."
    }

    precondition {
      condition     = length(var.fixtures) + length(var.registries) + length(var.addons) == 0 && join(",", var.ip_families) == "IPv4"
      error_message = "fixtures, registries, addons and other ip_families than [\"IPv4\"] are of the provider local; leave them out."
    }

    precondition {
      condition     = alltrue([for node in var.nodes : node.subnet == "" && length(node.disks) == 0 && !node.spare && node.cpu == 0 && node.memory == 0])
      error_message = "nodes: subnet, disks, spare, cpu and memory are of the provider local (the last two of qemu as well); leave them out."
    }
  }
}

# When everything may be swept, whoever still uses it: a time that later plans leave as it is.
resource "terraform_data" "expiry" {
  input = formatdate("YYYYMMDD'T'hhmmss'Z'", timeadd(plantimestamp(), var.settings.ttl))

  lifecycle {
    ignore_changes = [input]
  }
}

# The key pair of this cluster, and what its machines are told at their first boot (local.boot says what that is besides what all are told),
# as files below state_dir.
resource "terraform_data" "key" {
  triggers_replace = local.request

  input = {
    guard  = terraform_data.guard.id
    folder = "${local.state_dir}/ssh"
  }

  provisioner "local-exec" {
    interpreter = concat(var.koalesce_command, ["machines"])
    command     = "key"
    environment = { KOALESCE_REQUEST = jsonencode(merge(local.request, { boot = local.boot })) }
  }
}

resource "terraform_data" "cluster" {
  triggers_replace = [local.request, local.machines]

  input = {
    guard     = terraform_data.guard.id
    state_dir = local.state_dir
  }

  provisioner "local-exec" {
    interpreter = concat(var.koalesce_command, ["machines"])
    command     = "up"
    environment = { KOALESCE_REQUEST = jsonencode(merge(local.request, { settings = merge(var.settings, local.machines) })) }
  }
}

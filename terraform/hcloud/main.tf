# A cluster on servers of Hetzner Cloud: they are made here, and Koalesce makes nodes of them by SSH.

locals {
  state_dir = var.state_dir != "" ? var.state_dir : "${abspath(path.root)}/cluster"
  zones     = { ash = "us-east", hil = "us-west", sin = "ap-southeast" } # all others: eu-central

  request = {
    name                    = var.name
    run_id                  = var.run_id
    provider                = "hcloud"
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

  # By these `koalesce sweep` finds everything without Terraform's state.
  labels = {
    koalesce-cluster = var.name
    koalesce-run     = var.run_id
    koalesce-expires = terraform_data.expiry.output
  }

  nodes = { for index, node in var.nodes : node.name => cidrhost(var.settings.node_cidr, index + 10) }

  machines = {
    machines = [for node in var.nodes : {
      host    = hcloud_server.node[node.name].ipv4_address
      user    = "root"
      key     = "${local.state_dir}/ssh/id_ed25519"
      address = local.nodes[node.name]
    }]
    known_hosts = "${local.state_dir}/ssh/known_hosts"
    fresh       = true # made for this cluster: they are waited for, and have the keys that they show first
    public      = true # the API server and etcd are reached by `host`
    overlay     = true # pods of different machines reach each other by a tunnel
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

# The token is that of the environment: HCLOUD_TOKEN.
provider "hcloud" {}

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
}

# When everything may be swept, whoever still uses it: a time that later plans leave as it is.
resource "terraform_data" "expiry" {
  input = formatdate("YYYYMMDD'T'hhmmss'Z'", timeadd(plantimestamp(), var.settings.ttl))

  lifecycle {
    ignore_changes = [input]
  }
}

# The key pair of this cluster, and what its machines are told at their first boot, as files below state_dir.
resource "terraform_data" "key" {
  triggers_replace = local.request

  input = {
    guard  = terraform_data.guard.id
    folder = "${local.state_dir}/ssh"
  }

  provisioner "local-exec" {
    interpreter = concat(var.koalesce_command, ["machines"])
    command     = "key"
    environment = { KOALESCE_REQUEST = jsonencode(local.request) }
  }
}

resource "hcloud_ssh_key" "run" {
  name       = "${var.name}-${var.run_id}"
  public_key = try(file("${terraform_data.key.output.folder}/id_ed25519.pub"), "")
  labels     = local.labels
}

# Filters what comes from outside; nodes reach each other by the private network, which it doesn't concern.
resource "hcloud_firewall" "run" {
  name   = "${var.name}-${var.run_id}"
  labels = local.labels

  dynamic "rule" {
    for_each = { ssh = "22", api = "6443", etcd = "2379" }

    content {
      description = rule.key
      direction   = "in"
      protocol    = "tcp"
      port        = rule.value
      source_ips  = var.settings.allowed_cidrs
    }
  }

  lifecycle {
    precondition {
      condition     = length(var.settings.allowed_cidrs) > 0
      error_message = "settings.allowed_cidrs is empty: say from where SSH, the API server and etcd may be reached."
    }
  }
}

resource "hcloud_network" "run" {
  name     = "${var.name}-${var.run_id}"
  ip_range = var.settings.node_cidr
  labels   = local.labels
}

resource "hcloud_network_subnet" "run" {
  network_id   = hcloud_network.run.id
  type         = "cloud"
  network_zone = lookup(local.zones, var.settings.location, "eu-central")
  ip_range     = var.settings.node_cidr
}

resource "hcloud_server" "node" {
  for_each = local.nodes

  name         = "${var.name}-${each.key}"
  server_type  = var.settings.server_type
  image        = var.settings.image
  location     = var.settings.location
  ssh_keys     = [hcloud_ssh_key.run.id]
  firewall_ids = [hcloud_firewall.run.id]
  user_data    = try(file("${terraform_data.key.output.folder}/user-data"), "")
  labels       = local.labels

  public_net {
    ipv4_enabled = true
    ipv6_enabled = false
  }

  network {
    subnet_id = hcloud_network_subnet.run.id
    ip        = each.value
    alias_ips = []
  }

  lifecycle {
    ignore_changes = [ssh_keys, user_data] # what a server has been told at its first boot; the files are gone on other machines
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

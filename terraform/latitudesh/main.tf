# A cluster on bare metal of Latitude.sh: the servers are made here, and cluster.tf makes nodes of them.

locals {
  provider   = "latitudesh"
  label      = "koalesce.${var.name}.${var.run_id}.${local.marks.koalesce-expires}"
  public_key = trimspace(try(file("${terraform_data.key.output.folder}/id_ed25519.pub"), ""))

  # There is no firewall in front of these machines: each drops by itself what comes from others than may reach it.
  boot = { filter = true }

  machines = {
    machines = [for node in var.nodes : {
      host    = latitudesh_server.node[node.name].primary_ipv4
      user    = "root"
      key     = "${local.state_dir}/ssh/id_ed25519"
      address = latitudesh_server.node[node.name].primary_ipv4
    }]
    known_hosts = "${local.state_dir}/ssh/known_hosts"
    fresh       = true                                         # made for this cluster: they are waited for, and have the keys that they show first
    public      = true                                         # the API server and etcd are reached by `host`
    overlay     = true                                         # pods of different machines reach each other by a tunnel
    peers       = [for peer in terraform_data.peers : peer.id] # the cluster waits for them
  }
}

# The token is that of the environment: LATITUDESH_AUTH_TOKEN.
provider "latitudesh" {}

# One for all marks: others of the team never have the same one.
resource "latitudesh_tag" "run" {
  name        = "koalesce:${var.name}:${var.run_id}:${local.marks.koalesce-expires}"
  description = "Koalesce"
}

resource "latitudesh_ssh_key" "run" {
  name       = local.label
  public_key = local.public_key
  tags       = [latitudesh_tag.run.id]
}

resource "latitudesh_user_data" "run" {
  description = local.label
  content     = base64encode(try(file("${terraform_data.key.output.folder}/user-data"), ""))

  lifecycle {
    ignore_changes = [content] # what servers have been told at their first boot; the file is gone on other machines
  }
}

resource "latitudesh_server" "node" {
  for_each = { for index, node in var.nodes : node.name => index }

  billing          = "hourly" # it would be monthly, in advance
  project          = var.settings.project
  site             = var.settings.site
  plan             = var.settings.plan
  operating_system = var.settings.operating_system
  hostname         = "${var.name}-${each.value}" # 32 letters at most
  ssh_keys         = [latitudesh_ssh_key.run.id]
  user_data        = latitudesh_user_data.run.id
  tags             = [latitudesh_tag.run.id]

  lifecycle {
    precondition {
      condition     = var.settings.project != ""
      error_message = "settings.project is empty: say in which project servers are made, by its id or slug."
    }

    precondition {
      condition     = length(var.settings.allowed_cidrs) > 0
      error_message = "settings.allowed_cidrs is empty: say from where SSH, the API server and etcd may be reached."
    }
  }
}

# Servers have no private network in common, and know each other's addresses only now: each lets the others in.
resource "terraform_data" "peers" {
  for_each = latitudesh_server.node

  input            = sort([for server in latitudesh_server.node : server.primary_ipv4])
  triggers_replace = each.value.id

  connection {
    host        = each.value.primary_ipv4
    user        = "root"
    private_key = try(file("${terraform_data.key.output.folder}/id_ed25519"), "")
    timeout     = "30m"
  }

  provisioner "remote-exec" {
    inline = [
      "cloud-init status --wait >/dev/null || true",
      "echo 'add element inet koalesce_access allowed4 { ${join(", ", self.input)} }' > /etc/koalesce-access-peers.nft",
      "nft -f /etc/koalesce-access-peers.nft",
    ]
  }
}

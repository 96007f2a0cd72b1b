# A cluster on bare metal of Latitude.sh: the servers are made here, and cluster.tf makes nodes of them.

locals {
  provider   = "latitudesh"
  label      = "koalesce-${var.name}-${var.run_id}-${local.marks.koalesce-expires}"
  public_key = trimspace(try(file("${terraform_data.key.output.folder}/id_ed25519.pub"), ""))
  cidrs4     = [for cidr in var.settings.allowed_cidrs : cidr if !strcontains(cidr, ":")]
  cidrs6     = [for cidr in var.settings.allowed_cidrs : cidr if strcontains(cidr, ":")]

  # There is no firewall in front of these machines: each drops by itself what comes from others than may reach it, before it is
  # passed on to pods. nftables.service reads this at each boot.
  filter = <<-EOT
    table inet koalesce_access {
      set allowed4 {
        type ipv4_addr
        flags interval
        auto-merge
        elements = { ${join(", ", concat(["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"], local.cidrs4))} }
      }
      set allowed6 {
        type ipv6_addr
        flags interval
        auto-merge
        elements = { ${join(", ", concat(["::1"], local.cidrs6))} }
      }
      chain entries {
        type filter hook prerouting priority -150; policy accept;
        iifname "lo" accept
        ct state established,related accept
        ip saddr @allowed4 accept
        ip6 saddr @allowed6 accept
        meta l4proto { icmp, ipv6-icmp } accept
        udp dport 68 accept
        drop
      }
    }
    include "/etc/nftables-peers*.nft"
  EOT

  # What cloud-init does at a machine's first boot (https://docs.cloud-init.io/en/latest/reference/modules.html). Pods can read it from
  # the metadata service: it holds no secret.
  user_data = join("\n", ["#cloud-config", yamlencode({
    package_update      = true
    packages            = ["iproute2", "ipset", "iptables", "kmod", "nftables", "procps"]
    disable_root        = false
    ssh_authorized_keys = concat([local.public_key], var.settings.authorized_keys)
    write_files         = [{ path = "/etc/nftables.conf", permissions = "0600", content = local.filter }]
    runcmd              = [["systemctl", "enable", "--now", "nftables.service"]]
  })])

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
  content     = base64encode(local.user_data)
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
      "echo 'add element inet koalesce_access allowed4 { ${join(", ", self.input)} }' > /etc/nftables-peers.nft",
      "nft -f /etc/nftables-peers.nft",
    ]
  }
}

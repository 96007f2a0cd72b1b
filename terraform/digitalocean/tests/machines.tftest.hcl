# What is made, without an account: `terraform init && terraform test` in this folder (Terraform 1.7 or OpenTofu 1.8).

mock_provider "digitalocean" {}

override_resource {
  target = terraform_data.expiry
  values = { output = "20261123T140000Z" }
}

variables {
  name               = "dev"
  run_id             = "r-1"
  kubernetes_version = "1.37.2"
  koalesce_command   = ["true"]
  nodes              = [{ name = "control-plane", role = "control-plane" }, { name = "worker-1", role = "worker" }]
  settings           = { allowed_cidrs = ["192.0.2.0/24", "2001:db8::/32"], authorized_keys = ["ssh-ed25519 AAAA ci"] }
}

run "machines" {
  assert {
    condition     = length(digitalocean_droplet.node) == 2 && digitalocean_droplet.node["worker-1"].name == "dev-worker-1"
    error_message = "there is not a machine for each node"
  }

  assert {
    condition     = digitalocean_tag.run.name == "koalesce:dev:r-1:20261123T140000Z"
    error_message = "something has no marks"
  }

  assert {
    condition = alltrue([
      for name in [digitalocean_ssh_key.run.name, digitalocean_vpc.run.name, digitalocean_firewall.run.name] : name == "koalesce.dev.r-1.20261123T140000Z"
    ])
    error_message = "a name doesn't say to which run it belongs"
  }

  assert {
    condition = alltrue([
      for rule in digitalocean_firewall.run.inbound_rule : toset(rule.source_addresses) == toset(
        contains(["22", "2379", "6443"], coalesce(rule.port_range, "none")) ? ["192.0.2.0/24", "2001:db8::/32"] : ["10.80.0.0/24"]
      )
    ])
    error_message = "the cluster is open to others than it should be"
  }
}

run "nobody_may_reach_it" {
  command = plan

  variables {
    settings = { allowed_cidrs = [] }
  }

  expect_failures = [digitalocean_firewall.run]
}

run "several_control_planes_are_refused" {
  command = plan

  variables {
    nodes = [{ name = "a", role = "control-plane" }, { name = "b", role = "control-plane" }]
  }

  expect_failures = [terraform_data.guard]
}

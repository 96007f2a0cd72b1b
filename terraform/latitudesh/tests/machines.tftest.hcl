# What is made, without an account: `terraform init && terraform test` in this folder (Terraform 1.7 or OpenTofu 1.8).

mock_provider "latitudesh" {}

variables {
  name               = "dev"
  run_id             = "r-1"
  kubernetes_version = "1.37.2"
  koalesce_command   = ["true"]
  nodes              = [{ name = "control-plane", role = "control-plane" }, { name = "worker-1", role = "worker" }]
  settings           = { project = "p", allowed_cidrs = ["192.0.2.0/24", "2001:db8::/32"], authorized_keys = ["ssh-ed25519 AAAA ci"] }
}

# Planned only: servers that nobody has can't be told of each other.
run "machines" {
  command = plan

  assert {
    condition     = alltrue([for server in latitudesh_server.node : server.billing == "hourly" && server.project == "p"])
    error_message = "a server is billed by the month"
  }

  assert {
    condition     = toset([for server in latitudesh_server.node : server.hostname]) == toset(["dev-0", "dev-1"])
    error_message = "there is not a machine for each node"
  }

  assert {
    condition     = latitudesh_tag.run.description == "Koalesce"
    error_message = "there is no tag"
  }
}

run "nobody_may_reach_it" {
  command = plan

  variables {
    settings = { project = "p", allowed_cidrs = [] }
  }

  expect_failures = [latitudesh_server.node]
}

run "several_control_planes_are_refused" {
  command = plan

  variables {
    nodes = [{ name = "a", role = "control-plane" }, { name = "b", role = "control-plane" }]
  }

  expect_failures = [terraform_data.guard]
}

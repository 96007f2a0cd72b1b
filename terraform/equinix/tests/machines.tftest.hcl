# What is made, without an account: `terraform init && terraform test` in this folder (Terraform 1.7 or OpenTofu 1.8).

mock_provider "equinix" {}

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
  settings           = { project = "p", allowed_cidrs = ["192.0.2.0/24", "2001:db8::/32"], authorized_keys = ["ssh-ed25519 AAAA ci"] }
}

run "machines" {
  assert {
    condition = alltrue([
      for device in equinix_metal_device.node : device.billing_cycle == "hourly" && device.termination_time == "2026-11-23T14:00:00Z" &&
      toset(device.tags) == toset(["koalesce-cluster:dev", "koalesce-run:r-1", "koalesce-expires:20261123T140000Z"])
    ])
    error_message = "a device isn't billed by the hour, has no marks, or doesn't end"
  }

  assert {
    condition     = length(equinix_metal_device.node) == 2 && equinix_metal_project_ssh_key.run.name == "koalesce-dev-r-1-20261123T140000Z"
    error_message = "there is not a machine for each node, or its key doesn't say to which run it belongs"
  }
}

run "nobody_may_reach_it" {
  command = plan

  variables {
    settings = { project = "p", allowed_cidrs = [] }
  }

  expect_failures = [equinix_metal_device.node]
}

run "several_control_planes_are_refused" {
  command = plan

  variables {
    nodes = [{ name = "a", role = "control-plane" }, { name = "b", role = "control-plane" }]
  }

  expect_failures = [terraform_data.guard]
}

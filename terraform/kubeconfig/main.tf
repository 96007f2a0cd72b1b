# A cluster that exists: nothing of it is made here. Koalesce looks whether it is the one that is meant, and at the end removes from it
# what has the run's label. Only the built-in terraform_data is used, so that init needs no registry.

locals {
  state_dir = var.state_dir != "" ? var.state_dir : "${abspath(path.root)}/cluster"

  request = {
    name      = var.name
    run_id    = var.run_id
    state_dir = local.state_dir
    settings  = var.settings
  }

  # Written when the cluster is taken, hence read only then; gone when it is left, when the outputs no longer matter.
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

# Terraform does not run the destroy-time provisioner of a resource whose creation failed or was interrupted. The guard is made at
# once and never fails, so it is always destroyed, and after the cluster.
resource "terraform_data" "guard" {
  triggers_replace = local.request

  input = {
    name        = var.name
    interpreter = concat(var.koalesce_command, ["kubeconfig", "down"])
  }

  provisioner "local-exec" {
    when        = destroy
    interpreter = self.input.interpreter
    command     = self.input.name
  }
}

resource "terraform_data" "cluster" {
  triggers_replace = local.request

  input = {
    guard     = terraform_data.guard.id
    state_dir = local.state_dir
  }

  provisioner "local-exec" {
    interpreter = concat(var.koalesce_command, ["kubeconfig"])
    command     = "up"
    environment = { KOALESCE_REQUEST = jsonencode(local.request) }
  }
}

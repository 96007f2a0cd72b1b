terraform {
  required_version = ">= 1.5"

  required_providers {
    equinix = {
      source  = "equinix/equinix"
      version = "4.16.1" # the last one that knows metal
    }
  }
}

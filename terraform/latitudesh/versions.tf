terraform {
  required_version = ">= 1.5"

  required_providers {
    latitudesh = {
      source  = "latitudesh/latitudesh"
      version = "~> 4.0"
    }
  }
}

"""Koalesce in a virtual machine, whose kernel and cgroups are other than this machine's."""

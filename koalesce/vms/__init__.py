"""Virtual machines on this machine, as nodes: qemu, a disk with Debian, and a network of the cluster's own."""

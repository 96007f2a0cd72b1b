"""Finds or makes the binaries and images that a cluster needs."""

from koalesce.toolchain.images import ImageStore, ImageUnavailable
from koalesce.toolchain.toolchain import LocalTools, Toolchain

__all__ = ["ImageStore", "ImageUnavailable", "LocalTools", "Toolchain"]

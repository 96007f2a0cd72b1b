"""Koalesce as a library: what Python programs call, and the pytest plugin is made of.

Nothing here prints, takes signals, or ends the process.
"""

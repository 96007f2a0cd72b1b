"""Clouds that machines come from: one module each, with what its account and its settings are."""

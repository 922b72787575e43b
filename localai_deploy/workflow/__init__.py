"""Whole runs: look, plan, apply, verify, remove."""

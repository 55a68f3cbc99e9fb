"""Agents that answer a request with a slate of items, for RecSlate."""

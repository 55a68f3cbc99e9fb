"""Agents of two levels."""

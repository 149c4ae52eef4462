"""Sections that pages consist of."""

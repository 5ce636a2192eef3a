"""Expectations on incoming data, what they found, and the pages that show it."""

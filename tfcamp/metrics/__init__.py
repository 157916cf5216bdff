"""Metrics that are summed up batch by batch and checked against the well-known libraries."""

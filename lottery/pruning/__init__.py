"""Masks, criteria and schedules of pruning."""

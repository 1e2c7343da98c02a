"""Passes: functions from model (and graph) to model."""

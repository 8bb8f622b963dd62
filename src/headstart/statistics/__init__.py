"""Estimates with intervals, over seeds and over pairs of classes."""

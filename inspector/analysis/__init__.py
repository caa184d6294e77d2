"""Figures computed from the waist; no format is known here."""

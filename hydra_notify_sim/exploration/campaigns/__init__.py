"""Campaigns: many generated scenarios, played by workers, their failures shrunk, all of it kept in a directory."""

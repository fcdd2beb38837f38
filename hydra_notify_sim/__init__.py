"""Test harness and simulation framework for the notifications of Hydra, the Nix build farm."""

__version__ = "0.1.0"

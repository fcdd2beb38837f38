"""The made-up data of a Hydra as a Faker provider: ``fake.add_provider(HydraProvider)``."""

from faker.providers import BaseProvider

from hydra_notify_sim.simulator.names import HydraNames


class HydraProvider(HydraNames, BaseProvider):
    """Store paths, derivations, jobs, systems, projects, machines: for any Faker, the same for the same seed."""

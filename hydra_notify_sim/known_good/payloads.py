"""Known-good dispatchers that read payloads in another way: of one version only, or other leniencies."""

import dataclasses
from typing import Any

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core, ports
from hydra_notify_sim.known_good.registry import known_good


@known_good("reads-payloads-of-2026-08", "recorder.md, payloads", payloads=("2026-08",))
class ReadsPayloadsOf202608(core.Dispatcher):
    """Knows the payloads of August 2026 alone, as a dispatcher does that was written before the next ones came."""

    def __init__(self, **ports_and_plugins: Any) -> None:
        super().__init__(**{**ports_and_plugins, "payloads": "2026-08"})


@known_good("reads-payloads-of-2026-09", "recorder.md, payloads", payloads=("2026-09",))
class ReadsPayloadsOf202609(core.Dispatcher):
    """Knows the payloads of September 2026 alone: it was written for the present Hydra."""

    def __init__(self, **ports_and_plugins: Any) -> None:
        super().__init__(**{**ports_and_plugins, "payloads": "2026-09"})


@known_good("reads-payloads-leniently", "P-malformed")
class ReadsPayloadsLeniently(core.Dispatcher):
    """Takes a payload with a tab or a line break at its end, as hydra-notify does."""

    def handle(self, item: ports.Received | core.Recovered) -> None:
        """Cut one off."""
        if isinstance(item, ports.Received) and item.payload.endswith(("\t", "\n")):
            item = dataclasses.replace(item, payload=item.payload[:-1])
        super().handle(item)


@known_good("refuses-leading-zeros", "P-malformed")
class RefusesLeadingZeros(core.Dispatcher):
    """Takes an id with leading zeros for a malformed one."""

    def handle(self, item: ports.Received | core.Recovered) -> None:
        """Drop and count it as malformed."""
        if isinstance(item, ports.Received) and self._has_leading_zeros(item):
            core.LOG.warning("dropped a payload with leading zeros on %s", item.channel)
            self.metrics.event_error(item.channel)
            return
        super().handle(item)

    def _has_leading_zeros(self, item: ports.Received) -> bool:
        try:
            event = channels.parse(item.channel, item.payload, self.payloads)
        except channels.MalformedPayloadError:
            return False
        # Field by field as it is written anew: a trace is text, and may well look like 007.5.
        anew = channels.format_payload(event, self.payloads).split("\t")
        return any(
            given.startswith("0") and given != one
            for given, one in zip(item.payload.split("\t"), anew, strict=True)
        )

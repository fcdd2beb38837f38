"""What systemd wants to know of a service with Type=notify (sd_notify(3)): ready, alive, stopping."""

import os
import socket
import time
from collections.abc import Mapping


class Systemd:
    """Speaks to the service manager, if one listens."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environment.get("WATCHDOG_USEC", "") if mine else ""
        self.interval = int(microseconds) / 2e6 if microseconds.isdecimal() else None
        """Seconds between two signs of life: half of what the watchdog allows. None: there is no watchdog."""
        self._alive_at = float("-inf")
        self._ready = False

    def ready(self) -> None:
        """Say that it listens; only the first time counts."""
        if not self._ready:
            self._ready = True
            self._send("READY=1\nSTATUS=Listening")

    def waiting(self, why: str) -> None:
        """Say what the start waits for, and that it is no reason to give up."""
        self._send(f"STATUS=Waiting: {why}\nEXTEND_TIMEOUT_USEC=60000000")

    def alive(self) -> None:
        """Give the watchdog a sign of life, if it is time for one."""
        if self.interval is not None and time.monotonic() - self._alive_at >= self.interval / 2:
            self._alive_at = time.monotonic()
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(1.0)
                sender.sendto(text.encode(errors="replace"), self._address)
        except OSError:
            pass  # a service manager that does not listen is no reason to stop dispatching

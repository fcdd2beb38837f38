"""Posts the status of builds to GitHub, or to anything that speaks like it."""

import json
import os
import urllib.request

STATES = {None: "pending", 0: "success", 1: "failure", 2: "failure", 4: "error"}
"""Hydra's ``buildstatus`` to GitHub's word; every other one is an error."""


class GithubStatus:
    """One status for each job of a commit."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url
        self.token = token

    def build_queued(self, build) -> None:
        self.post(build)

    def build_started(self, build) -> None:
        self.post(build)

    def build_finished(self, build, dependents) -> None:
        # After a failure Hydra names the build itself among its dependents: one status for each.
        for each in {b.id: b for b in [build, *dependents]}.values():
            self.post(each)

    def post(self, build) -> None:
        """Post one status; what is not 2xx raises, and the dispatcher tries again."""
        status = build.buildstatus if build.finished else None
        body = {
            "state": STATES.get(status, "error"),
            "context": f"{build.project}:{build.jobset}:{build.job}",
        }
        request = urllib.request.Request(  # noqa: S310  # the URL is the administrator's
            self.url + "statuses",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310  # the URL is the administrator's
            pass


def from_environment() -> GithubStatus:
    """Return the plugin as the environment configures it."""
    return GithubStatus(os.environ["GITHUB_STATUS_URL"], os.environ.get("GITHUB_TOKEN", ""))

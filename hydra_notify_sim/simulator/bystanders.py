"""Rows that no story speaks of, among those that it does: what a dispatcher may take for the row that an event names.

They are written with the rows of a story, in the same statements, and no record tells of them. None is marked, and
nothing ever happens to them (docs/decisions/0039-worlds-in-which-nothing-coincides.md).
"""

from collections.abc import Sequence

from hydra_notify_sim.contract.statuses import Status
from hydra_notify_sim.simulator.builds import Build, Jobset
from hydra_notify_sim.simulator.names import Names
from hydra_notify_sim.simulator.sql import Quoting, Value

PROJECT = "elsewhere"
"""A project that is no story's."""
_OWNER = "bob"
_A_WHILE = 86_400
"""Seconds by which what is over lies before a story."""
_PACKAGES = 1_000_000
"""Number of the first package of ours: far from those of a story's builds."""


def statements(
    quoting: Quoting, names: Names, jobset: Jobset, *, evaluation: int, build: int, now: int
) -> list[str]:
    """Return the statements for what is there beside a story's jobset, from its first evaluation's and build's id on.

    In the jobset an older and a newer evaluation, each with a build; one of each in another project's jobset of the
    same name; and a further jobset in the same project.
    """
    row = quoting.row
    same_name, same_project = jobset.id - 1_013, jobset.id + 405_011
    evaluations = (
        (evaluation - 4_027, jobset.id),
        (evaluation + 2_500_013, jobset.id),
        (evaluation + 2_500_094, same_name),
    )
    builds = (
        (build - 70_013 if build > 70_013 else build + 1_250_003, jobset.id, 1, Status.failed),
        (build + 1_250_021, jobset.id, 0, None),
        (build + 1_250_087, same_name, 1, Status.succeeded),
    )
    then = now - _A_WHILE
    jobsets = [
        row(jobset.name, same_name, PROJECT, "src", "release.nix", ""),
        row(f"{jobset.name}-next", same_project, jobset.project, "src", "release.nix", ""),
    ]
    of_evaluations = [row(id_, home, then, 1, 2, 1, names.sha256(id_), 1) for id_, home in evaluations]
    of_builds = [row(*_build(names, number, then, of)) for number, of in enumerate(builds, start=_PACKAGES)]
    members = [row(one[0], other[0], 1) for one, other in zip(evaluations, builds, strict=True)]
    return [
        f"INSERT INTO users (username,emailaddress,password) VALUES {row(_OWNER, 'bob@example.org', '!')}",
        f"INSERT INTO projects (name,displayname,owner) VALUES {row(PROJECT, 'Elsewhere', _OWNER)}",
        (
            "INSERT INTO jobsets (name,id,project,nixexprinput,nixexprpath,emailoverride) "
            f"VALUES {','.join(jobsets)}"
        ),
        (
            "INSERT INTO jobsetevals (id,jobset_id,timestamp,checkouttime,evaltime,hasnewbuilds,hash,nrbuilds) "
            f"VALUES {','.join(of_evaluations)}"
        ),
        (
            "INSERT INTO builds (id,finished,timestamp,jobset_id,job,nixname,drvpath,system,buildstatus,starttime,"
            f"stoptime,iscachedbuild) VALUES {','.join(of_builds)}"
        ),
        f"INSERT INTO jobsetevalmembers (eval,build,isnew) VALUES {','.join(members)}",
    ]


def _build(
    names: Names, number: int, then: int, of: tuple[int, int, int, Status | None]
) -> tuple[Value, ...]:
    id_, home, finished, status = of
    package = names.package(number)
    job = f"{package.attribute}.x86_64-linux"
    about = (id_, finished, then, home, job, package.nix_name, package.drv_path, "x86_64-linux")
    if status is None:
        return (*about, None, None, None, None)
    return (*about, int(status), then, then + 61, 0)


def step(build: Build, number: int, now: int) -> tuple[Value, ...]:
    """Return the row of a step that somebody else has built on the way to a build."""
    drv_path = f"{build.drv_path.removesuffix('.drv')}-{number}.drv"
    return (build.id, number, 0, drv_path, 0, 0, now, now, "elsewhere.example.org", build.system)


def twins(builds: Sequence[Build], now: int) -> list[tuple[Build, int, int]]:
    """Return the builds whose twin's row is to be written now, each with the twin's id and when that one ended.

    A twin has the job and the derivation of its build, and was built a while ago.
    """
    found = []
    for build in builds:
        if build.twin is not None:
            found.append((build, build.twin, now - _A_WHILE))
            build.twin = None
    return found

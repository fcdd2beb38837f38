"""The SQL of the rows around a build: jobset, build, outputs, steps, products, metrics; and which rows exist."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hydra_notify_sim.contract import channels
from hydra_notify_sim.contract.statuses import Status
from hydra_notify_sim.simulator import bystanders
from hydra_notify_sim.simulator.builds import Build, Evaluation, Input, Jobset
from hydra_notify_sim.simulator.names import Package
from hydra_notify_sim.simulator.sql import Quoting, Value

OWNER = "alice"
"""The user to whom made-up projects belong."""

EXPRESSION = ("src", "release.nix")
"""The input, and the file in it, that a jobset without a flake evaluates."""

STEP_BUILDS = 0
STEP_SUBSTITUTES = 1
"""``buildsteps.type``."""

_PRODUCTS = (
    ("file", "binary-dist", "tar.xz"),
    ("doc", "manual", "html"),
    ("report", "coverage", "html"),
    ("file", "iso", "iso"),
    ("file", "source-dist", "tar.gz"),
)


def output_paths(package: Package, names: Iterable[str]) -> dict[str, str]:
    """Return output name to store path; the hash of each differs."""
    paths = {}
    for index, name in enumerate(names):
        digits = package.output_hash[index % 32 :] + package.output_hash[: index % 32]
        suffix = "" if name == "out" else f"-{name}"
        paths[name] = f"/nix/store/{digits}-{package.nix_name}{suffix}"
    return paths


def new_jobset(quoting: Quoting, jobset: Jobset) -> list[str]:
    """Return the statements for a jobset, its project and its owner."""
    row = quoting.row
    owner = row(OWNER, "Alice Example", "alice@example.org", "!", "create-projects")
    project = row(jobset.project, jobset.project, f"The {jobset.project} project", OWNER)
    source = (1, None, None, jobset.flake) if jobset.flake else (0, *EXPRESSION, None)
    description = f"{jobset.name} of {jobset.project}"
    values = row(jobset.name, jobset.id, jobset.project, description, *source, "")
    return [
        f"INSERT INTO users (username,fullname,emailaddress,password,type) VALUES {owner} ON CONFLICT DO NOTHING",
        f"INSERT INTO projects (name,displayname,description,owner) VALUES {project} ON CONFLICT DO NOTHING",
        (
            "INSERT INTO jobsets (name,id,project,description,type,nixexprinput,nixexprpath,flake,emailoverride) "
            f"VALUES {values}"
        ),
        f"SELECT setval('jobsets_id_seq',{jobset.id})",
    ]


def new_evaluation(quoting: Quoting, evaluation: Evaluation, now: int, *, errors_id: str) -> str:
    """Return the statement for an evaluation's row; ``errors_id`` is SQL for the id of its row of errors."""
    changed = evaluation.has_new_builds
    source = (evaluation.flake, None, None) if evaluation.flake else (None, *EXPRESSION)
    values = quoting.row(
        evaluation.id,
        evaluation.jobset.id,
        now,
        1,
        2,
        int(changed),
        evaluation.hash,
        len(evaluation.builds) if changed else None,
        *source,
    )
    return (
        "INSERT INTO jobsetevals (id,jobset_id,timestamp,checkouttime,evaltime,hasnewbuilds,hash,nrbuilds,flake,"
        f"nixexprinput,nixexprpath,evaluationerror_id) VALUES {values[:-1]},{errors_id})"
    )


def members(quoting: Quoting, evaluation: Evaluation, new: Sequence[Build]) -> list[str]:
    """Return the statement that makes what an evaluation found its members."""
    fresh = set(map(id, new))
    values = [quoting.row(evaluation.id, build.id, int(id(build) in fresh)) for build in evaluation.builds]
    if not values:
        return []
    return [f"INSERT INTO jobsetevalmembers (eval,build,isnew) VALUES {','.join(values)}"]


def constituents(quoting: Quoting, evaluation: Evaluation) -> list[str]:
    """Return the statement for what the evaluation's aggregates stand for; a build that it does not hold is left out."""
    found = set(map(id, evaluation.builds))
    values = [
        quoting.row(build.id, part.id)
        for build in evaluation.builds
        for part in build.constituents
        if id(part) in found
    ]
    if not values:
        return []
    return [
        f"INSERT INTO aggregateconstituents (aggregate,constituent) VALUES {','.join(values)} ON CONFLICT DO NOTHING"
    ]


def inputs(quoting: Quoting, evaluation: Evaluation, found: Iterable[Input]) -> list[str]:
    """Return the statement for the inputs that an evaluation looked at; of one name, several are alternatives."""
    numbers: dict[str, int] = {}
    values = []
    for one in found:
        number = numbers[one.name] = numbers.get(one.name, -1) + 1
        short = 7 if one.revision else None
        values.append(
            quoting.row(
                evaluation.id, one.name, number, one.type, one.uri, one.revision, short, one.value, ""
            )
        )
    if not values:
        return []
    return [
        (
            "INSERT INTO jobsetevalinputs (eval,name,altnr,type,uri,revision,shortrevlength,value,path) "
            f"VALUES {','.join(values)}"
        )
    ]


def new_builds(quoting: Quoting, builds: Sequence[Build], now: int) -> list[str]:
    """Return the statements for queued builds and their outputs, as an evaluation writes them, and for twins of some."""
    row = quoting.row
    nothing = (0, None, None, None)
    queued = [row(build.id, *_queued(build, now), *nothing) for build in builds]
    queued += [
        row(id_, *_queued(build, stop), 1, int(Status.succeeded), stop, stop)
        for build, id_, stop in bystanders.twins(builds, now)
    ]
    values = ",".join(queued)
    outputs = ",".join(
        [row(build.id, name, path) for build in builds for name, path in build.outputs.items()]
    )
    statements = [
        (
            "INSERT INTO builds (id,timestamp,jobset_id,job,nixname,description,drvpath,system,license,"
            f"maintainers,iscurrent,priority,finished,buildstatus,starttime,stoptime) VALUES {values}"
        )
    ]
    if outputs:
        statements.append(f"INSERT INTO buildoutputs (build,name,path) VALUES {outputs}")
    return statements


def _queued(build: Build, now: int) -> tuple[Value, ...]:
    package = build.package
    return (
        now,
        build.jobset.id,
        build.job,
        package.nix_name,
        package.description,
        build.drv_path,
        build.system,
        package.licence,
        ", ".join(build.maintainers) or None,
        1,
        100,
    )


def failed_steps(
    quoting: Quoting,
    builds: Sequence[Build],
    owner: Build,
    status: Status,
    *,
    machine: str = "",
    message: str | None = None,
    from_: Build | None = None,
) -> list[str]:
    """Return the statements for the rows that a step's failure leaves with every build it takes along.

    ``owner``'s derivation is the one that failed; ``from_`` is where the failure came from (``propagatedfrom``) for
    every build but itself.
    """
    steps = []
    outputs = []
    for build in builds:
        number = build.next_step
        origin = from_.id if from_ is not None and from_ is not build else None
        steps.append(
            quoting.row(
                build.id,
                number,
                STEP_BUILDS,
                owner.drv_path,
                0,
                int(status),
                message,
                machine,
                owner.system,
                origin,
            )
        )
        outputs += [quoting.row(build.id, number, name, path) for name, path in owner.outputs.items()]
    if not steps:
        return []
    statements = [
        (
            "INSERT INTO buildsteps (build,stepnr,type,drvpath,busy,status,errormsg,machine,system,propagatedfrom) "
            f"VALUES {','.join(steps)}"
        )
    ]
    if outputs:
        statements.append(new_step_outputs(outputs))
    return statements


def new_step_outputs(values: Sequence[str]) -> str:
    """Return the statement for rows of ``buildstepoutputs``."""
    return f"INSERT INTO buildstepoutputs (build,stepnr,name,path) VALUES {','.join(values)}"


def results(quoting: Quoting, build: Build, stop: int) -> list[str]:
    """Return the statements that a success writes beside the build's row: outputs, products, metrics."""
    id_ = build.id
    statements = [
        f"UPDATE buildoutputs SET path={quoting.text(path)} WHERE build={id_} AND name={quoting.text(name)}"
        for name, path in build.outputs.items()
    ]
    if build.has_results:
        # Only rows that are known to be there are replaced: a DELETE of nothing costs as much as one of something.
        statements += [
            f"DELETE FROM buildproducts WHERE build={id_}",
            f"DELETE FROM buildmetrics WHERE build={id_}",
        ]
    if build.products:
        products = [quoting.row(id_, *_product(build, number)) for number in range(1, build.products + 1)]
        statements.append(
            "INSERT INTO buildproducts (build,productnr,type,subtype,filesize,sha256hash,path,name,defaultpath) "
            f"VALUES {','.join(products)}"
        )
    if build.metrics:
        home = (build.jobset.project, build.jobset.name, build.job, stop)
        metrics = [
            quoting.row(id_, name, "s" if "time" in name else "KiB", float(value), *home)
            for name, value in build.metrics.items()
        ]
        statements.append(
            "INSERT INTO buildmetrics (build,name,unit,value,project,jobset,job,timestamp) "
            f"VALUES {','.join(metrics)}"
        )
    return statements


def _product(build: Build, number: int) -> tuple[Value, ...]:
    type_, subtype, suffix = _PRODUCTS[(number - 1) % len(_PRODUCTS)]
    path = next(iter(build.outputs.values()), build.drv_path.removesuffix(".drv"))
    name = (
        f"{build.package.nix_name}-{number}.{suffix}" if number > 1 else f"{build.package.nix_name}.{suffix}"
    )
    size = build.package.size // number
    digest = f"{int.from_bytes(build.package.output_hash.encode(), 'big') * (number * 2 + 1) % 2**256:064x}"
    default = "index.html" if type_ in {"doc", "report"} else ""
    return number, type_, subtype, size, digest, f"{path}/{name}", name, default


def named_rows(event: channels.Event) -> list[tuple[str, str]]:
    """Return the rows that an event names, as (table, key)."""
    match event:
        case channels.StepFinished(build, step):
            return [("buildsteps", f"{build}/{step}")]
        case channels.BuildFinished(build, dependents):
            return [("builds", str(id_)) for id_ in dict.fromkeys((build, *dependents))]
        case channels.BuildQueued(build) | channels.BuildStarted(build):
            return [("builds", str(build))]
        case channels.CachedBuildFinished(evaluation, build) | channels.CachedBuildQueued(evaluation, build):
            return [("jobsetevals", str(evaluation)), ("builds", str(build))]
        case channels.EvalStarted(_, jobset) | channels.EvalFailed(_, jobset):
            return [("jobsets", str(jobset))]
        case channels.EvalAdded(_, jobset, evaluation) | channels.EvalCached(_, jobset, evaluation):
            return [("jobsets", str(jobset)), ("jobsetevals", str(evaluation))]


def missing(
    query: Callable[[str], list[Any]], events: Sequence[channels.Event | None]
) -> list[tuple[str, ...]]:
    """Return for each event the rows that it names and that do not exist, ``table:key``; none for a malformed one."""
    named = [named_rows(event) if event is not None else [] for event in events]
    wanted = {row for rows in named for row in rows}
    selects = []
    for table in ("builds", "jobsetevals", "jobsets"):
        ids = [key for name, key in wanted if name == table and int(key) <= channels.INT4_MAX]
        if ids:
            selects.append(f"SELECT '{table}',id::text FROM {table} WHERE id IN ({','.join(ids)})")
    steps = [key.replace("/", ",") for name, key in wanted if name == "buildsteps" and _fits(key)]
    if steps:
        selects.append(
            "SELECT 'buildsteps',build||'/'||stepnr FROM buildsteps "
            f"WHERE (build,stepnr) IN (({'),('.join(steps)}))"
        )
    existing = {tuple(row) for row in query(" UNION ALL ".join(selects))} if selects else set()
    return [tuple(f"{table}:{key}" for table, key in rows if (table, key) not in existing) for rows in named]


def _fits(key: str) -> bool:
    return all(int(part) <= channels.INT4_MAX for part in key.split("/"))

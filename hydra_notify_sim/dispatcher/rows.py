"""The rows that plugins are handed: attributes named as the columns, lower case, and the obvious joins."""

from typing import Any, Self


class Row:
    """A row of one table; its columns are its attributes, and ``columns`` holds them all."""

    table = ""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.__dict__.update(columns)

    @property
    def columns(self) -> dict[str, Any]:
        """The row as a dictionary, column to value."""
        return dict(self.__dict__)

    def copy(self) -> Self:
        """Return a row of its own with the same columns."""
        twin = object.__new__(type(self))
        twin.__dict__ = self.__dict__.copy()
        return twin

    def __getattr__(self, name: str) -> Any:
        message = f"{type(self).__name__.lower()} rows have no column {name!r}; they have: {', '.join(sorted(self.__dict__))}"
        raise AttributeError(message)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.__dict__.get('id', self.__dict__)}>"


class Build(Row):
    """A row of ``builds``; also ``project`` and ``jobset``, the names of its jobset."""

    table = "builds"
    id: int
    finished: int
    buildstatus: int | None
    starttime: int | None
    stoptime: int | None
    notificationpendingsince: int | None
    job: str
    jobset: str
    project: str


class Step(Row):
    """A row of ``buildsteps``."""

    table = "buildsteps"
    build: int
    stepnr: int
    status: int | None


class Evaluation(Row):
    """A row of ``jobsetevals``."""

    table = "jobsetevals"
    id: int
    jobset_id: int


class Jobset(Row):
    """A row of ``jobsets``."""

    table = "jobsets"
    id: int
    project: str
    name: str

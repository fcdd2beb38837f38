"""What the verbs about the database server are about: settings, a locked row, a migration."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hydra_notify_sim.scenario.base import Entry, Nickname
from hydra_notify_sim.scenario.durations import Duration

SPARE_COLUMNS = ("keep", "maxsilent", "timeout")
"""Columns of builds that neither the simulator writes nor a plugin is compared by: a migration may change them."""

SpareColumn = Literal["keep", "maxsilent", "timeout"]


class DatabaseSettings(Entry):
    """What sessions that begin from now on find set (``ALTER DATABASE … SET``); ``{}`` sets all of it back."""

    lock_timeout: Duration | None = None
    """A statement that waits so long for a lock fails."""
    statement_timeout: Duration | None = None
    """A statement that takes so long fails."""
    isolation: Literal["read committed", "repeatable read", "serializable"] | None = None
    """How transactions are isolated, unless they say otherwise."""


class LockedRow(Entry):
    """A row of builds, and for how long somebody keeps it locked."""

    build: Nickname
    """The build."""
    for_: Duration = Field(validation_alias="for", serialization_alias="for")
    """How long, on the story's clock."""


class Migration(Entry):
    """A change of the table ``builds``: one of the keys."""

    add: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")] | None = None
    """A column of this name is added."""
    drop: SpareColumn | None = None
    """This column is dropped."""
    retype: SpareColumn | None = None
    """This column's type becomes bigint."""

    @model_validator(mode="after")
    def _one_change(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise PydanticCustomError("migrate", "say one of add, drop and retype")
        return self

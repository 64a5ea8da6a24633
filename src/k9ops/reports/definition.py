"""What a report is: one definition, from which file, validation, help and lists are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from k9ops.db.application import ApplicationSchema
from k9ops.errors import ReportUnavailable
from k9ops.reports.words import Words

if TYPE_CHECKING:
    from k9ops.reports.reading import Reading

#: How a value is stored, shown and aligned. `code` is text that runs from left to right whatever stands around it;
#: `moment` is a naive UTC timestamp, shown in the unit's time zone; `word` is an enum's label.
Kind = Literal["text", "code", "integer", "decimal", "date", "time", "moment", "word", "yes_no"]
TotalRule = Literal["sum", "average", "count_by"]
ParameterKind = Literal["date", "month", "project", "dog", "employee", "choice", "handler_report"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of a section.

    Attributes:
        key: Name of the value in each row.
        header: What stands above it.
        width: Share of the page's width, relative to the other columns.
        kind: How its values look.
        words: For the kind `word`: what each label means.
        total: What stands below the section: the sum or average of the values, or how many rows have each.
    """

    key: str
    header: Words
    width: float = 1.0
    kind: Kind = "text"
    words: Mapping[str, Words] = field(default_factory=dict)
    total: TotalRule | None = None


@dataclass(frozen=True)
class Chart:
    """Bars beside a section: one for each row.

    Attributes:
        label: Key of the column that names a bar.
        value: Key of the column that is its height.
    """

    label: str
    value: str


@dataclass(frozen=True)
class Section:
    """A table of a report.

    Attributes:
        key: Permanent, unique within the report.
        title: Shown when the report has several sections.
        columns: In reading order, or a function of the parameters' values that returns them.
        rows: Reads the rows: mappings by column key, as they come from the database.
        chart: Drawn above the table.
        notes: A line below the table.
        is_counted: Whether the number of its rows stands below it.
    """

    key: str
    title: Words
    columns: tuple[Column, ...] | Callable[[Mapping[str, Any]], tuple[Column, ...]]
    rows: Callable[[Reading], Iterable[Row]]
    chart: Chart | None = None
    notes: Words | None = None
    is_counted: bool = True

    def columns_for(self, values: Mapping[str, Any]) -> tuple[Column, ...]:
        """Return the columns for these parameters."""
        return self.columns(values) if callable(self.columns) else self.columns


@dataclass(frozen=True)
class Parameter:
    """What a person may choose.

    Attributes:
        name: Permanent.
        title: What a form calls it.
        kind: Which values it takes.
        default: A value as it is typed; None when the report is not limited by it.
        choices: For the kind `choice`.
        is_required: Whether there is no report without it.
        is_private: Whether it is nobody's business who was looked at: neither pages, commands and logs nor the audit
            have the value.
    """

    name: str
    title: Words
    kind: ParameterKind
    default: str | None = None
    choices: Mapping[str, Words] = field(default_factory=dict)
    is_required: bool = False
    is_private: bool = False


@dataclass(frozen=True)
class Report:
    """A report.

    Attributes:
        key: Permanent.
        title: What people call it.
        about: One sentence.
        tables: Tables of the application that it reads in both generations.
        tables_of: Further tables by generation.
        parameters: Beside the language, which every report takes.
        sections: Its tables, in order.
        is_landscape: A4 on its side.
    """

    key: str
    title: Words
    about: Words
    tables: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    sections: tuple[Section, ...]
    tables_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_landscape: bool = True

    @property
    def all_parameters(self) -> tuple[Parameter, ...]:
        """Its own parameters and the language."""
        return (*self.parameters, LANGUAGE)

    def find_missing(self, schema: ApplicationSchema) -> tuple[str, ...]:
        """Return the tables that it needs and the application does not have."""
        needed = (*self.tables, *self.tables_of.get(schema.generation or "", ()))
        return tuple(sorted(table for table in needed if not schema.has(table)))

    def require(self, schema: ApplicationSchema) -> None:
        """Make sure that the application has what it reads.

        Raises:
            ReportUnavailable: Names the tables that are missing.
        """
        if missing := self.find_missing(schema):
            raise ReportUnavailable(
                f"The report {self.key} cannot be made here: the application's database lacks {', '.join(missing)}.",
                missing=missing,
            )


LANGUAGE = Parameter(
    "language",
    Words("اللغة", "Language"),
    "choice",
    default="ar",
    choices={
        "ar": Words("العربية", "Arabic"),
        "en": Words("الإنجليزية", "English"),
        "both": Words("كلتاهما", "Both"),
    },
)

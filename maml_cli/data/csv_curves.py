"""Regression from a CSV file: a row is a point, and the rows with the same key are a task."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from maml_cli.core.errors import DataError, UsageError
from maml_cli.core.settings import STRICT, RunSettings
from maml_cli.data.class_splits import bound_splits, split_by_seed
from maml_cli.data.columns import Column, Columns, measured
from maml_cli.data.csv_table import Faults, read_table
from maml_cli.data.curves import ways_problems
from maml_cli.data.faults import refuse
from maml_cli.data.inventory import Inventory
from maml_cli.data.point_rows import Roles, TaskPoints, roles_in, tasks_in
from maml_cli.data.point_tasks import PointTasks
from maml_cli.data.record import TASKS, UNBOUND, Binding, ClassFacts, DataRecord, some
from maml_cli.data.sampler import SPLITS

Names = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Splits = Mapping[str, Sequence[TaskPoints]]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CsvCurves:
    """Tasks of a CSV file, split by task; a network sees standardised numbers."""

    name: Annotated[str, Field(min_length=1, description="in tables and folder names")]
    path: Annotated[str, Field(min_length=1, description="the CSV file")]
    keys: Annotated[
        Names | None, Field(description="columns that tell tasks apart; null: task, or the first")
    ]
    inputs: Annotated[Names | None, Field(description="columns; null: all that are nothing else")]
    outputs: Annotated[Names | None, Field(description="columns; null: y, or the last")]
    split: Annotated[
        str | None,
        Field(description="a column of train, val, test; null: split if there is one, else drawn"),
    ]
    standardise: Annotated[
        bool, Field(description="networks see numbers of mean 0 and deviation 1 in training")
    ]
    val_fraction: Annotated[Share, Field(description="of the tasks, if no column splits them")]
    test_fraction: Annotated[Share, Field(description="of the tasks, if no column splits them")]
    split_seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="of the split by fractions")]

    def check(self, run: RunSettings) -> list[str]:
        """What cannot be; how many tasks and points there are is known once the file is read."""
        problems = ways_problems(self.name, run)
        if self.val_fraction + self.test_fraction >= 1:
            problems.append(
                f"dataset.val_fraction={self.val_fraction} and dataset.test_fraction="
                f"{self.test_fraction} leave no task for training: lower them to less than 1 "
                "together."
            )
        return problems

    def columns(self, trained: Columns | None) -> Columns:
        """The columns of a run, which its record has; raises DataError if it has none."""
        if trained is None:
            raise DataError(
                "the run has no record of its columns (data.json): put back a copy of the file"
            )
        return trained

    def inventory(self, run: RunSettings) -> Inventory:
        """What is there; raises DataError if the file is not what it should be."""
        roles, tasks = self._read(UNBOUND)
        splits, remarks = self._split(tasks, UNBOUND)
        return Inventory(
            sources=[Path(self.path)],
            counts={split: [len(t.points) for t in members] for split, members in splits.items()},
            expected={},
            problems=[],
            notes=[str(roles), *remarks, *self._shortages(splits, run)],
            titles=("tasks", "points per task", "points"),
        )

    def load(
        self, run: RunSettings, device: torch.device, binding: Binding = UNBOUND
    ) -> PointTasks:
        """The tasks; raises DataError, or UsageError if there are too few tasks or points."""
        roles, tasks = self._read(binding)
        splits, remarks = self._split(tasks, binding)
        if binding.split is not None:  # validation tasks are welcome, but not needed
            short = {s for s in splits if self._shortages({s: splits[s]}, run)}
            splits = {s: m for s, m in splits.items() if s == binding.split or s not in short}
        if problems := self._shortages(splits, run):
            raise UsageError(*problems)
        columns = self._columns(roles, splits, binding)
        tasks_of = ", ".join(f"{len(members)} in {split}" for split, members in splits.items())
        return PointTasks(
            splits,
            run,
            device,
            columns=columns,
            record=_record(splits, columns),
            remarks=(f"{roles}; tasks: {tasks_of}", *remarks, *_scale(columns)),
        )

    def _read(self, binding: Binding) -> tuple[Roles, list[TaskPoints]]:
        where = f"dataset.path={self.path}"
        faults: Faults = []
        problems: list[str] = []
        table = read_table("dataset.path", Path(self.path), faults)
        roles = roles_in(
            table.header,
            keys=self.keys,
            inputs=self.inputs,
            outputs=self.outputs,
            split=self.split,
            trained=binding.record.columns if binding.record else None,
            problems=problems,
        )
        if problems:  # without columns, rows say nothing
            raise DataError(*(f"{where}: {problem}" for problem in problems))
        tasks = tasks_in(table, roles, faults)
        refuse(
            [f"line {line}: {said}" for line, said in sorted(faults)],
            f"{where}: correct these rows or take them away; dataset.inputs=[...] and "
            "dataset.outputs=[...] leave other columns out",
        )
        if not tasks:
            raise DataError(f"{where}: has no rows below its first line")
        return roles, tasks

    def _split(
        self, tasks: Sequence[TaskPoints], binding: Binding
    ) -> tuple[dict[str, list[TaskPoints]], list[str]]:
        """The tasks of each split that is needed, and remarks."""
        remarks: list[str] = []
        given = {s: [t for t in tasks if t.split == s] for s in SPLITS}
        given = {split: members for split, members in given.items() if members}
        if binding.record is not None or binding.split is not None:
            unsplit = [] if given else tasks
            return bound_splits(self.path, given, unsplit, binding, remarks, nouns=TASKS), remarks
        if given:
            return {split: given.get(split, []) for split in SPLITS}, remarks
        drawn = split_by_seed(
            tasks, val=self.val_fraction, test=self.test_fraction, seed=self.split_seed
        )
        return drawn, remarks

    def _shortages(self, splits: Splits, run: RunSettings) -> list[str]:
        """One sentence for each thing that there is too little of for an episode."""
        where, total = f"dataset.path={self.path}", sum(map(len, splits.values()))
        problems = [
            f"{where}: no task of {total} is in {split}: add tasks, or change the split"
            for split, members in splits.items()
            if not members
        ]
        needs = {split: run.shots_in(split) + run.queries_in(split) for split in splits}
        small = [
            (f"{task.label} has {len(task.points)} (line {task.line})", needs[split])
            for split, members in splits.items()
            for task in members
            if len(task.points) < needs[split]
        ]
        if small:
            most = max(need for _, need in small)
            problems.append(
                f"{where}: {len(small)} of {TASKS.amount(total)} have fewer points than the {most} "
                f"that an episode needs (shots={run.shots} + queries={run.queries}, or train_shots "
                f"and train_queries): {some([said for said, _ in small])}; lower shots or queries, "
                "or take these tasks away"
            )
        return problems

    def _columns(self, roles: Roles, splits: Splits, binding: Binding) -> Columns:
        """The run's own columns, or those measured on the training tasks."""
        names = roles.inputs, roles.outputs
        if binding.record is not None and binding.record.columns is None:
            # trained on computed curves, whose numbers a network sees as they are
            return Columns(*([Column(name) for name in part] for part in names))
        if binding.record is None or binding.record.columns is None:
            members = splits.get("train") or [t for part in splits.values() for t in part]
            points = np.concatenate([task.points for task in members])
            parts = np.split(points, [len(roles.inputs)], axis=1)
            pairs = zip(names, parts, strict=True)
            return Columns(*(measured(n, p, standardise=self.standardise) for n, p in pairs))
        trained = binding.record.columns
        if tuple(map(len, trained)) != tuple(map(len, names)):
            raise UsageError(
                f"dataset.inputs and dataset.outputs name {len(names[0])} and {len(names[1])} "
                f"columns; the run was trained on {len(trained.inputs)} and {len(trained.outputs)}"
            )
        return trained


def _record(splits: Splits, columns: Columns) -> DataRecord:
    facts = {
        split: {
            task.label: ClassFacts(
                len(task.points), hashlib.sha256(task.points.tobytes()).hexdigest()[:16]
            )
            for task in members
        }
        for split, members in splits.items()
    }
    text = repr(sorted((label, *f) for part in facts.values() for label, f in part.items()))
    return DataRecord(
        checksum=hashlib.sha256(text.encode()).hexdigest(),
        train_classes=1,
        splits=facts,
        columns=columns,
    )


def _scale(columns: Columns) -> list[str]:
    """What the numbers were divided by, and what that makes of the error."""
    if not columns.standardised:
        return []
    said = ", ".join(
        f"{c.name} (always {c.mean:.6g}, which tells networks nothing)"
        if c.constant
        else f"{c.name} (mean {c.mean:.6g}, deviation {c.deviation:.6g})"
        for c in (*columns.inputs, *columns.outputs)
    )
    unit = ""
    if len(columns.outputs) == 1:
        (output,) = columns.outputs
        unit = f": times {output.deviation**2:.6g} it is in squared units of {output.name}"
    return [
        f"standardised by the points of training: {said}; mse is in squared deviations{unit}",
    ]

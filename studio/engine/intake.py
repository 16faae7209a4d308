"""Checks an order before it becomes a job, and decodes what it begins with. On the caller's thread."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from studio.asked.branch import Branch
from studio.asked.compare import Comparison
from studio.asked.fields import ImageToImage
from studio.asked.guest_rules import (
    NO_RULES,
    Rules,
    check_branch,
    check_comparison_words,
    check_past,
    check_words,
    comparison_with_locked,
    with_locked,
)
from studio.asked.orders import Allowance, SubmitComparison, SubmitRun
from studio.asked.requests import RANDOM_SEEDS, Request
from studio.asked.resolved import Suits, asks_for_choices, resolve, with_suitable_values
from studio.asked.template import Wildcards
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.lookup import in_listing, permitted
from studio.checkpoints.wildcards import WildcardFiles
from studio.engine.comparisons import ComparisonJob, StartKey, start_key
from studio.engine.jobs import Job
from studio.picture.control_maps import control_pictures
from studio.picture.framing import Start, start_of


class Intake:
    """Knows from the catalogue what can be run here."""

    def __init__(self, catalog: Catalog, clock: Callable[[], float], engine: str) -> None:
        """`clock` is the book's; `engine` stands in front of the ids of its jobs."""
        self._catalog = catalog
        self._wildcards = WildcardFiles(catalog.models_dirs)
        self._clock = clock
        self._engine = engine

    def run(self, order: SubmitRun, owner: str, origin: str, job_id: str | None = None) -> tuple[Job, SubmitRun]:
        """The job of a run, and its order as it is here. `job_id`: the one that it has already. Raises
        InvalidRequest."""
        request = self.request(order.request, rules_of(order.allowance))
        job = Job(
            request,
            owner=owner,
            origin=origin,
            clock=self._clock,
            engine=self._engine,
            start=self.start(request),
            attention=order.attention,
            controls=control_pictures(request),
            ephemeral=order.ephemeral,
            live=order.live,
            job_id=job_id,
        )
        return job, replace(order, request=request)

    def comparison(
        self, order: SubmitComparison, owner: str, origin: str, job_id: str | None = None
    ) -> tuple[ComparisonJob, SubmitComparison]:
        """The same of a comparison, its seed decided. Raises InvalidRequest."""
        comparison = self.comparison_in_listing(order.comparison, rules_of(order.allowance))
        focus = order.focus if 0 <= order.focus < len(comparison) else 0
        job = ComparisonJob(
            comparison,
            owner=owner,
            origin=origin,
            clock=self._clock,
            engine=self._engine,
            focus=focus,
            starts=self.starts(cells_of(comparison)),
            controls=control_pictures(comparison.base),
            ephemeral=order.ephemeral,
            job_id=job_id,
        )
        return job, replace(order, comparison=comparison, focus=focus)

    def comparison_in_listing(self, comparison: Comparison, rules: Rules = NO_RULES) -> Comparison:
        """A comparison with the listing's names, what suits its checkpoints, what the rules lock, and a seed. Raises as
        `request`, for the axis if the checkpoints or words are on one."""
        comparison = comparison_with_locked(comparison, rules)
        if comparison.base.seed is None:  # only now: the rules may have locked it
            comparison = comparison.with_seed(secrets.randbelow(RANDOM_SEEDS))
        if comparison.lacks_variation_seed:
            comparison = comparison.with_variation_seed(secrets.randbelow(RANDOM_SEEDS))
        on_axis = [name for name, axis in zip(("x_values", "y_values"), comparison.axes) if axis.field == "checkpoint"]
        field = on_axis[0] if on_axis else "checkpoint"
        pairs = [(cell, self.in_listing(cell, rules, field)) for cell in cells_of(comparison)]
        checkpoints = {cell.checkpoint: cell_in_listing.checkpoint for cell, cell_in_listing in pairs}
        comparison = comparison.with_names(checkpoints, pairs[0][1].controls)
        suits = {name: entry.checkpoint.suits for name, entry in self._catalog.checkpoints().items()}
        comparison = comparison.with_suits(suits)
        wildcards = self._wildcards.for_visitor(rules)
        check_comparison_words(comparison, suits, rules, wildcards)
        for cell in cells_of(comparison):
            check_choices(cell, suits.get(cell.checkpoint, Suits()), wildcards)
        return comparison

    def request(self, request: Request, rules: Rules = NO_RULES) -> Request:
        """A request as it is run: with the listing's names, what suits its checkpoint, and what the rules lock. Raises
        InvalidRequest, naming the field, for what cannot be used, does not fit, or is against the rules."""
        request = self.in_listing(with_locked(request, rules), rules)
        suits = self._catalog.checkpoints()[request.checkpoint].checkpoint.suits
        request = with_suitable_values(request, suits)
        if request.seed is None and asks_for_choices(request):  # the words that are judged are those that are run
            request = replace(request, seed=secrets.randbelow(RANDOM_SEEDS))
        wildcards = self._wildcards.for_visitor(rules)
        check_choices(request, suits, wildcards)
        check_words(request, suits, rules, wildcards)
        return request

    def branch(self, request: Request, branch: Branch, rules: Rules = NO_RULES) -> Request:
        """The request of a branch as it is run. Raises InvalidRequest as `request`, also where the run that it leaves
        is from before the rules."""
        check_branch(branch, rules)
        request = self.in_listing(request, rules)
        suits = self._catalog.checkpoints()[request.checkpoint].checkpoint.suits
        wildcards = self._wildcards.for_visitor(rules)
        check_choices(request, suits, wildcards)
        check_words(request, suits, rules, wildcards)
        check_past(request, suits, rules)
        return request

    def in_listing(self, request: Request, rules: Rules = NO_RULES, field: str = "checkpoint") -> Request:
        """The request with the listing's names of its checkpoint and ControlNets, of those that the rules allow. Raises
        InvalidRequest, naming the field, for one that cannot be used."""
        return in_listing(request, permitted(self._catalog.entries(), rules.models), field=field)

    def may_name(self, checkpoint: str | None, rules: Rules) -> bool:
        """Whether the rules allow a checkpoint of the listing."""
        entry = self._catalog.checkpoints().get(checkpoint or "")
        return entry is None or bool(permitted([entry], rules.models))

    def start(self, request: Request) -> Start | None:
        """What a run from a picture begins with, decoded. Raises InvalidRequest for a file that is no picture."""
        if not isinstance(request, ImageToImage):
            return None
        checkpoint = self._catalog.checkpoints()[request.checkpoint].checkpoint
        return start_of(request, (checkpoint.native_width, checkpoint.native_height))

    def starts(self, cells: Sequence[Request]) -> dict[StartKey, Start]:
        """The same for the cells of a comparison, which share the pictures that are alike. Raises as `start`."""
        starts: dict[StartKey, Start] = {}
        for cell in cells:
            if start_key(cell) not in starts and (start := self.start(cell)) is not None:
                starts[start_key(cell)] = start
        return starts


def cells_of(comparison: Comparison) -> list[Request]:
    """The cells of a comparison that can be run."""
    return [cell for cell in map(comparison.request, range(len(comparison))) if cell is not None]


def check_choices(request: Request, suits: Suits, wildcards: Wildcards) -> None:
    """Raises InvalidRequest for a template that cannot be resolved."""
    if asks_for_choices(request):
        resolve(request, suits, wildcards=wildcards)


def rules_of(allowance: Allowance | None) -> Rules:
    """What a job's visitor may use."""
    return allowance.rules if allowance is not None else NO_RULES

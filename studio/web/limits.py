"""What strangers may have of this computer: the three quotas of a guest, and the one share of all clients without a
cookie. The engine keeps the account (studio.engine.allowances)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, cast

from studio.answered.engine import Engine, EngineStatus, Refused
from studio.answered.models import Checkpoint
from studio.asked import orders
from studio.asked.few_steps import FewSteps, FewStepsOfMap
from studio.asked.guest_rules import Rules, check_text, with_locked
from studio.asked.messages import Message
from studio.asked.orders import Allowance, Quota, Submission
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.question import Question
from studio.asked.upscale import Upscale
from studio.ui.text import say
from studio.web import guest_view
from studio.web.access import EVERYBODY, PASSWORD, PROGRAMS, Access
from studio.web.board import Board

MEGAPIXEL = 2**20
NO_COOKIE = "no cookie"  # the group of clients that are another visitor with each request
MAX_REMEMBERED = 10_000

# Of one guest: a comparison of 32 pictures with 30 steps each, or eight of 1024 x 1024.
VISITOR = Quota(jobs=4, images=32, steps=1000, pixels=8 * MEGAPIXEL, device_seconds=15 * 60)
# Of all guests of one invitation, and of all guests: the queue has 64 places, so that the owner always finds some free.
TOGETHER = Quota(jobs=40, images=320, steps=10_000, pixels=64 * MEGAPIXEL, device_seconds=45 * 60)
MACHINE = Quota(jobs=48, images=384, steps=12_000, pixels=80 * MEGAPIXEL, device_seconds=50 * 60)
WITHOUT_COOKIE = Quota(jobs=24)
GUEST_UPSCALE_PIXELS = 4 * MEGAPIXEL  # of one enlarged picture: nobody counts the seconds that it takes


@dataclass(frozen=True)
class UploadLimits:
    """Bytes of uploads on the disk at once."""

    visitor: int = 64 * 2**20
    together: int = 256 * 2**20


class NewVisitors:
    """The newest visitors that came without a cookie and have not come again with the one they got. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._new: OrderedDict[str, None] = OrderedDict()

    def record(self, owner: str, *, with_cookie: bool) -> None:
        """A request of this visitor has arrived."""
        with self._lock:
            if with_cookie:
                self._new.pop(owner, None)
                return
            self._new[owner] = None
            while len(self._new) > MAX_REMEMBERED:
                self._new.popitem(last=False)

    def __contains__(self, owner: object) -> bool:
        with self._lock:
            return owner in self._new


class LimitedEngine:
    """An engine whose jobs carry the allowance of whoever asks for them, and which knows no model that they may not
    use. Everything else is the engine itself."""

    def __init__(
        self,
        engine: Engine,
        access: Access,
        new_visitors: NewVisitors,
        board: Board | None = None,
        visitor: guest_view.Visitor = guest_view.answered_visitor,
    ) -> None:
        """`visitor`: whose request is being answered now; "" outside of one."""
        self._engine = engine
        self._access = access
        self._new_visitors = new_visitors
        self.board = board or Board()
        self._visitor = visitor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def submit(self, job: Submission, *, owner: str, origin: str = "api") -> str:
        """As `Engine.submit`. Raises Refused also for what is more than the allowance."""
        allowance = self.allowance(owner)
        if self.board.now.frozen and self._access.limited_group(owner) is not None:
            raise Refused(say("share.frozen"), kind="unavailable")
        job_id = await self._engine.submit(replace(job, allowance=allowance), owner=owner, origin=origin)
        if allowance is not None and allowance.group != NO_COOKIE:
            self.board.meet(owner)
        return job_id

    # --------------------------------------------------------------------------------------- what a guest is told

    def catalog(self) -> tuple[Checkpoint, ...]:
        """As `Engine.catalog`, of what the visitor may use whose request is being answered. Outside of a request, as
        when the page is built for everybody: the built-in checkpoint."""
        catalog = self._engine.catalog()
        if not self._visitor():
            return tuple(one for one in catalog if one.built_in)
        rules = self.rules(self._visitor())
        return catalog if rules is None else guest_view.lesson(catalog, rules, self.board.now.examples)

    def status(self) -> EngineStatus:
        """As `Engine.status`, without the names of checkpoints that this visitor may not use."""
        models = self._models()
        now = self._engine.status()
        return now if models is None else guest_view.status(now, self._engine.catalog(), models)

    async def ask(self, question: Any, *, owner: str = "") -> Any:
        """As `Engine.ask`. Raises InvalidRequest also for a word that this visitor may not use."""
        visitor = owner or self._visitor()
        rules = self.rules(visitor)
        if rules is None:
            return await self._engine.ask(question, owner=owner)
        match question:
            case orders.ModelList():
                return guest_view.listing(await self._engine.ask(question, owner=owner), rules.models)
            case orders.ModelPicture() if rules.models is not None and question.model_id not in rules.models:
                return None
            case orders.Tokens() | Question():
                self._check_checkpoint(question.checkpoint, rules)
                question = replace(question, models=rules.models)
                if isinstance(question, orders.Tokens):
                    question = replace(question, wildcards=rules.wildcards)
            case Upscale():
                self._check_not_frozen()
                question = replace(question, models=rules.models, most_pixels=GUEST_UPSCALE_PIXELS)
            case orders.WildcardNames():
                question = replace(question, allowed=question.allowed and rules.wildcards)
            case orders.Speed() if not self._may_name(question.checkpoint, rules):
                return None
        if isinstance(question, FewSteps):
            self._check_picture(question, rules)
        for field, text in question.texts.items() if isinstance(question, Question) else ():
            check_text(text, rules, field=field)
        return await self._engine.ask(question, owner=owner)

    def _check_not_frozen(self) -> None:
        if self.board.now.frozen:
            raise Refused(say("share.frozen"), kind="unavailable")

    def _check_picture(self, question: FewSteps, rules: Rules) -> None:
        """A picture that a question makes is bound by what binds a run. Raises InvalidRequest or Refused."""
        self._check_not_frozen()
        if rules.safety_checker:  # nothing is shown that it has not looked at
            raise Refused(Message("The owner of this studio has the safety checker on, which looks at runs only."))
        if isinstance(question, FewStepsOfMap) and rules.models is not None:
            offered = guest_view.checkpoints(self._engine.catalog(), rules.models)
            if not any(question.control in one.controlnets for one in offered if one.name == question.checkpoint):
                expectation = Message("the name of an installed ControlNet")
                raise InvalidRequest(Problem("control", quoted_value(question.control), expectation))
        with_locked(question.request, rules)

    async def order(self, order: orders.ModelOrder) -> None:
        """As `Engine.order`; a guest's wish for a checkpoint that they may not use is one for none."""
        rules = self.rules(self._visitor())
        wish = order.checkpoint if isinstance(order, orders.PrepareCheckpoint) else None
        if rules is None or wish is None or self._may_name(wish, rules):
            await self._engine.order(order)

    def rules(self, owner: str) -> Rules | None:
        """What a guest may use, or a program with a guest's limits; None for everybody else."""
        return self.board.rules() if owner and self._access.limited_group(owner) is not None else None

    def _models(self) -> tuple[str, ...] | None:
        rules = self.rules(self._visitor())
        return rules.models if rules is not None else None

    def _may_name(self, checkpoint: str, rules: Rules) -> bool:
        return any(one.name == checkpoint for one in guest_view.checkpoints(self._engine.catalog(), rules.models))

    def _check_checkpoint(self, checkpoint: str, rules: Rules) -> None:
        if rules.models is not None and not self._may_name(checkpoint, rules):  # in the engine's own words
            raise InvalidRequest(Problem("checkpoint", quoted_value(checkpoint), Message("an installed checkpoint")))

    # ------------------------------------------------------------------------------------------- what they may have

    def allowance(self, owner: str) -> Allowance | None:
        """What a visitor may have; None for the owner, and for whoever has a cookie while the studio is open."""
        group = self._access.limited_group(owner)
        if group == EVERYBODY and owner in self._new_visitors:  # all of them are as one guest
            return Allowance(
                group=NO_COOKIE, together=VISITOR, machine=MACHINE, ends_with_studio=True, rules=self.board.rules()
            )
        if group is not None:
            ends = group not in (PASSWORD, PROGRAMS)  # those of an invitation cannot come back after the next start
            return Allowance(
                group=group,
                visitor=VISITOR,
                together=TOGETHER,
                machine=MACHINE,
                ends_with_studio=ends,
                rules=self.board.rules(),
            )
        if owner in self._new_visitors:
            return Allowance(group=NO_COOKIE, together=WITHOUT_COOKIE)
        return None


def with_limits(
    engine: Engine,
    access: Access,
    new_visitors: NewVisitors,
    board: Board | None = None,
    visitor: guest_view.Visitor = guest_view.answered_visitor,
) -> tuple[Engine, LimitedEngine]:
    """The same object twice: as the engine that the page is given, and as what the owner's board freezes. The arguments
    as of `LimitedEngine`."""
    one = LimitedEngine(engine, access, new_visitors, board, visitor)
    return cast(Engine, one), one

"""The default policy: plans typed operators whose input type fits, with tools that are at hand. No model, no network.

It looks one step ahead: at the last depth it takes operators whose value can be an answer, and before the needed depth it takes
none whose value no operator accepts. What it proposes depends on the view alone, so any number of workers plan the same tree.
"""

from __future__ import annotations

from pathlib import Path

from millrace.synthesis.environments import Action, Environment, Operator
from millrace.synthesis.policies import Policy, Proposal, View, signature

ENDING_EARLY = 0.15
"""The weight of an operator that nothing can follow, while a path has more than two actions left: long chains are worth more."""


class ProgrammaticPolicy(Policy):
    """Plans with the environment's operators."""

    name = "programmatic@1"
    goes_back = True

    async def propose(self, environment: Environment, view: View, count: int) -> list[Proposal]:
        """Operators in a weighted random order, those of the seed's topic first on the first hop."""
        found: list[Proposal] = []
        seen = set(view.used)
        ordered = self._ordered(environment, view)
        for operator in [*ordered, *ordered, *ordered]:  # the same operator with other constants, where there are few
            constants = operator.draw(view.rng, view.values)
            if constants is None:
                continue
            action = Action(operator.tool, operator.act(constants, view.values))
            name = signature(action)
            if name in seen:
                continue
            seen.add(name)
            found.append(Proposal(action, intent(operator), operator.name, constants))
            if len(found) == count:
                break
        return found

    def _ordered(self, environment: Environment, view: View) -> list[Operator]:
        kind = self._kind(environment, view)
        taken = {node.op for node in view.path}
        beside = {node.op for node in view.siblings}
        accepted = {operator.takes for operator in environment.operators.values()}
        last = view.depth_left == 1
        candidates = []
        for operator in environment.operators.values():
            if operator.takes != kind or operator.tool not in environment.tools or operator.name in taken:
                continue
            leads_on = operator.gives in accepted
            if (last and not operator.answers) or (not leads_on and view.needed > 1):
                continue
            candidates.append(operator)
        early = view.depth_left > 2
        keys = {
            operator.name: view.rng.random()
            ** (1 / (operator.weight * (ENDING_EARLY if early and operator.gives not in accepted else 1.0)))
            for operator in candidates
        }
        first = set(view.start.prefer) if len(view.path) == 1 else set()
        return sorted(
            candidates,
            key=lambda operator: (operator.name in first, operator.name not in beside, keys[operator.name]),
            reverse=True,
        )

    @staticmethod
    def _kind(environment: Environment, view: View) -> str:
        last = view.path[-1]
        return environment.operators[last.op].gives if last.op else view.start.kind


def policy_of(config: object, folder: Path | None = None, shard: str = "") -> ProgrammaticPolicy:
    """The policy; it needs no settings and keeps nothing."""
    del config, folder, shard
    return ProgrammaticPolicy()


def intent(operator: Operator) -> str:
    """Why the action is taken, in words, without its constants."""
    return f"apply {operator.name.replace('_', ' ')}"

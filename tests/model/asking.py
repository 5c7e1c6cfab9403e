"""A node asks the others about a disk, and judges its own copy by what they say."""

from rules import Rules
from world import NODES, PROMOTED, TICKETED, World

from zfsext.ownership import Currency, Record


def ask(rules: Rules, world: World, disk: int, node: int) -> tuple[dict[str, Record | None], list[int]]:
    """Return what the other nodes say of their copies, and who is silent."""
    answers: dict[str, Record | None] = {}
    silent = []
    for other in world.nodes:
        if other == node:
            continue
        if world.reach(node, other) and (rules.asks_the_offline or not world.offline[other]):
            answers[NODES[other]] = world.record(disk, other)
        else:
            silent.append(other)
    return answers, silent


def judge(rules: Rules, world: World, disk: int, node: int) -> Currency:
    """Return whether an owner's or a ticket's copy may be opened, or handed on."""
    mine = world.copy(disk, node).record
    answers, silent = ask(rules, world, disk, node)
    seen = world.seen[disk][node]
    return rules.currency(
        NODES[node],
        mine,
        answers,
        # Only who was ever sent a byte may know better.
        [NODES[other] for other in silent if world.copies[disk][other] is not None],
        [NODES[other] for other in silent if world.offline[other]],
        fresh=seen == TICKETED,
        overridden=mine.over if seen == PROMOTED else (),
    )

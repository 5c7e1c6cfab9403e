"""Who has which disk locked: a script holds its volumes while it changes them, and asks others without."""

from rules import Rules
from scripts import HandOver, Open, Script
from world import World

#: The steps of open that change something here on the ground of what was found out in the step before.
CHANGING = ("consume", "settle", "unseal", "promote")


def locked(rules: Rules, world: World, node: int, disk: int, but: Script | None = None) -> bool:
    """Tell whether a script (but this one) has the lock of a disk on a node."""
    return any(script != but and script.node == node and holds(rules, script, disk) for script in world.scripts)


def holds(rules: Rules, script: Script, disk: int) -> bool:
    """Tell whether a script has the lock of a disk on its node."""
    if isinstance(script, HandOver):
        return rules.locks and script.step != "begin" and disk in script.disks
    if isinstance(script, Open):
        return script.step in CHANGING and (rules.revokes_groups or script.disk == disk)
    return False

"""Whether Ganeti answers on a node, and the right time there."""

from __future__ import annotations

import json
import time

from settings import Node, TestbedError
from ssh import Connection

_ASK = r"""
date -u -s @$1 >/dev/null
ss -Hltn 'sport = :1811' | grep -q . || { echo "noded does not listen" >&2; exit 1; }
test "$2" = luxid && test "$(cat /var/lib/ganeti/ssconf_master_node)" = "$(hostname)" || exit 0
said=$(printf '{"method": "QueryNodes", "args": [[], ["name"], false]}\003' |
       socat -t30 - UNIX-CONNECT:/run/ganeti/socket/ganeti-query 2>/dev/null | tr -d '\003')
test -n "$said" && { echo "$said"; exit 0; }
test "$(systemctl is-active ganeti)" = activating || for daemon in ganeti-wconfd ganeti-luxid; do
    pgrep -f "^/usr/sbin/$daemon" >/dev/null || /usr/lib/ganeti/daemon-util start $daemon >/dev/null 2>&1
done
echo "luxid does not answer" >&2
exit 1
"""
"""One round trip: the clock, noded, and on the master luxid, whom gnt-node list would ask with the same words
(but its start takes seconds in an emulator). A master that found no majority at its boot has given up: it is
the watcher that starts its daemons again, and no cron runs it here (one by one: start-master gives up at the
first that is running already)."""


def wait(connection: Connection, everybody: list[Node], voting: bool = True, seconds: float = 240) -> None:
    """Give the node this machine's time and return when Ganeti answers there.

    On the master that is the whole cluster's configuration, with EVERYBODY in it; without VOTING (too few nodes
    can be reached to make a master) noded is enough. A thawed node still has the time of its freezing, and Ganeti
    compares clocks.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return _answers(connection, everybody, voting)
        except TestbedError as error:
            if time.monotonic() > end:
                raise TestbedError(f"Ganeti does not answer on {connection.node.name}: {error}") from error
        time.sleep(0.5)


def _answers(connection: Connection, everybody: list[Node], voting: bool) -> None:
    said = connection.call("sh", "-c", _ASK, "sh", f"{time.time():.2f}", "luxid" if voting else "noded")
    if said:
        answer = json.loads(said)
        missing = {node.fqdn for node in everybody} - {name for (name,) in answer["result"]}
        if not answer["success"] or missing:
            raise TestbedError(f"luxid says {said}")

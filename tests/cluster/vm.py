"""A VM with two disks that goes from node to node, what its disks must hold, and what a copy of them must be."""

import itertools

from conftest import Cluster, Node

PARENT, STANDBY = "zfs/vm", "zfs/vm-standby"
SIZES = (64, 32)
OPEN = {"VOL_OPEN_EXCLUSIVE": "True"}

#: All that zfsext notes of a disk (the table in the documentation), and what else is set on the dataset itself.
DOCUMENTED = {
    f"zfsext:{name}"
    for name in (
        *("state", "schema", "id", "stamp", "generation", "floor", "issued", "peer", "over", "knows", "round"),
        *("rounded", "final", "promoted", "instance", "size", "reservation", "replicas", "rolled"),
    )
}
NATIVE = {"canmount", "recordsize", "compression", "refreservation", "direct"}


class Vm:
    """The VM. Each write takes the next stretch of both disks, so that each moment has a checksum of its own."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        *options: str,
        node: Node | None = None,
        start: bool = True,
        parameters: str = "",
    ) -> None:
        self.name = name
        self.cluster = cluster
        disks = [
            word
            for index, size in enumerate(SIZES)
            for word in ("--disk", f"{index}:size={size}M,provider=zfsfile{parameters}")
        ]
        cluster.add(name, "-t", "ext", *disks, *options, node=node, start=start)
        self.volumes = [cluster.volume(name, index) for index in range(len(SIZES))]
        self.sums = [""] * len(SIZES)
        self.written = 0
        self._seeds = itertools.count()

    def write(self, node: Node, mebibytes: int = 2) -> None:
        """Let the VM write to each of its disks, where it runs."""
        assert self.written + mebibytes <= min(SIZES), "the disks are too small for this test"
        loops = node.loops()
        for volume in self.volumes:
            wrote = node.fill(loops[volume], next(self._seeds), mebibytes, self.written)
            assert node.checksum(loops[volume], mebibytes, self.written) == wrote
        self.written += mebibytes
        self.sums = self.read(node)

    def read(self, node: Node) -> list[str]:
        """Return the checksums of both disks, whole."""
        loops = node.loops()
        return [node.checksum(loops[volume], size) for volume, size in zip(self.volumes, SIZES, strict=True)]

    def failover(self, target: Node) -> None:
        self.cluster.gnt("gnt-instance", "failover", "-f", "-n", target.fqdn, self.name)

    def runs_on(self, node: Node) -> None:
        """See that it runs there, that its disks hold what was written last, and that no other node has them live."""
        assert (self.cluster.status(self.name), self.cluster.primary(self.name)) == ("running", node.name)
        assert self.read(node) == self.sums
        for each in self.cluster.nodes:
            here = set(self.volumes) if each is node else set()
            assert set(self.volumes) & each.volumes() == here
            assert set(self.volumes) & set(each.loops()) == here

    def is_refused_on(self, node: Node) -> None:
        """See that a node does not open the disks: no device, no error from attach, and an open that says why."""
        for volume in self.volumes:
            done = node.script("attach", volume)
            assert (done.returncode, done.stdout) == (0, ""), done
            done = node.script("open", volume, **OPEN)
            assert (done.returncode, done.stdout) == (1, ""), done
            assert done.stderr
        assert not set(self.volumes) & set(node.loops())

    def live(self) -> list[str]:
        return [f"{PARENT}/{volume}" for volume in self.volumes]

    def standby(self) -> list[str]:
        return [f"{STANDBY}/{volume}" for volume in self.volumes]

    def replicate(self, target: Node, *options: str) -> None:
        self.cluster.gnt("zfsext", "replicate", self.name, "--to", target.fqdn, "--quiet", *options)

    def is_replicated(self, source: Node, target: Node) -> str:
        """See that the target has a sound copy of what was written last; return its round."""
        rounds = set()
        for live, standby, size, wrote in zip(self.live(), self.standby(), SIZES, self.sums, strict=True):
            mine, theirs = source.local(live), target.local(standby)
            assert (mine["zfsext:state"], theirs["zfsext:state"]) == ("owner", "replica")
            assert theirs["zfsext:peer"] == source.fqdn
            for name in ("zfsext:id", "zfsext:generation", "zfsext:instance"):
                assert mine[name] == theirs[name], name
            for found in (mine, theirs):
                assert set(found) <= DOCUMENTED | NATIVE
            received = target.run("zfs", "get", "-H", "-s", "received", "-o", "property", "all", standby)
            assert received == ""
            where = "canmount,readonly,mounted"
            assert target.run("zfs", "get", "-Ho", "value", where, standby).split() == ["noauto", "on", "no"]
            rounds.add(theirs["zfsext:round"])
            snapshot = f"@zfsext-{theirs['zfsext:round']}"
            assert source.guids(live)[live + snapshot] == target.guids(standby)[standby + snapshot]
            assert f"zfsext:{target.fqdn}" in source.holds(live + snapshot)
            assert "zfsext" in target.holds(standby + snapshot)
            assert target.kept(standby + snapshot, size) == wrote
        assert len(rounds) == 1, "the disks are of different moments"
        return rounds.pop()

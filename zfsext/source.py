"""A new disk that begins with another one's data: source=DATASET@SNAPSHOT, made in a second, whatever its size.

It is a clone: it takes no space of its own until it is written to, and the snapshot cannot be destroyed as long as it
is one. Only what zfsext itself made an image in is taken, on this node, from the pool that the new disk is in.
"""

import os
from collections.abc import Mapping

from zfsext import attachment, cluster, contract, image, mounts, places, pool, properties, zfs
from zfsext.config import Config
from zfsext.contract import Request
from zfsext.errors import BadInput, NotHere, Refused
from zfsext.parameters import Parameters


def require(wanted: Parameters, given: Mapping[str, str]) -> int:
    """Return the recordsize in bytes that a disk which begins with wanted.source has: the source's own.

    Raises BadInput, NotHere or Refused for a source that cannot be one.
    """
    dataset = wanted.source.partition("@")[0]
    if pool.of(dataset) != pool.of(wanted.parent):
        raise BadInput(f"source is in the pool {pool.of(dataset)}, and the disk would be in {pool.of(wanted.parent)}")
    there = zfs.read([dataset], ["recordsize", "type", properties.STATE])
    if dataset not in there:
        raise NotHere(f"{dataset} is not on this node: 'zfsext list' on each node shows where it is")
    if there[dataset]["type"] != "filesystem" or there[dataset].local(properties.STATE) is None:
        raise Refused(f"{dataset} was not made by zfsext, so it is not known what is in it")
    names = [each.name for each in zfs.snapshots(dataset)]
    if wanted.source not in names:
        raise NotHere(f"{wanted.source} is not there; {dataset} has {', '.join(names) or 'no snapshot'}")
    own = there[dataset].number("recordsize")
    if "recordsize" in given and wanted.recordsize != own:
        raise BadInput(
            f"recordsize cannot be chosen for a disk that begins with {dataset}: it is that one's, {own} bytes"
        )
    return own


def parameters_of(dataset: zfs.Dataset, parent: str, short: str, config: Config) -> dict[str, str]:
    """Return the parameters, as gnt-instance's --disk takes them, of a disk like this one that begins as its snapshot.

    What new disks have anyway is left out. Raises BadInput if how large the disk is was not noted.
    """
    size = contract.mebibytes(properties.SIZE, dataset.local(properties.SIZE) or "")
    own = {
        "dataset": parent if parent != config.live[0] else "",
        "compression": word if (word := dataset.local("compression") or "") in zfs.COMPRESSION else "",
        "reservation": dataset.local(properties.RESERVATION) or "thin",
    }
    usual = {"compression": config.compression, "reservation": config.reservation}
    told = {name: text for name, text in own.items() if text and text != usual.get(name)}
    replicas = (dataset.local(properties.REPLICAS) or "").split()
    if replicas != list(config.replicas):
        told["replicas"] = ":".join(replicas)
    return {"size": f"{size}M", "provider": cluster.PROVIDER, "source": f"{dataset.name}@{short}", **told}


def clone(wanted: Parameters, new: str, request: Request, native: Mapping[str, int], user: Mapping[str, str]) -> None:
    """Make the dataset `new` with the source's image in it, of the size that was asked for.

    Raises BadInput if the source's image is larger than that.
    """
    zfs.clone(wanted.source, new, native, user)
    directory = places.private_directory(new)
    mounts.mount(new, directory)
    file = image.open_checked(directory)
    try:
        size = image.size(file)
        if size > request.size:
            raise BadInput(
                f"{wanted.source} has {size} MiB, and a disk of {request.size} would cut that off: size={size}M"
            )
        if size < request.size:
            image.grow(file, request.size)
    finally:
        os.close(file)
    attachment.unmounted(new)
    mounts.remove_directory(directory)

# `make check` tests everything and `make demo` shows it; both install what they need (as root, on Debian).

TOX = .tox-bootstrap/bin/python -m tox
PARTS = lint unit model package zfs faults cluster

.PHONY: help check $(PARTS) deb demo proof soak clean

help:
	@echo 'make check              the whole test suite, through tox:'
	@echo '  make lint             ruff, mypy, shellcheck'
	@echo '  make unit             without ZFS, in two minutes'
	@echo '  make model            disks between nodes, in a model, in whatever order, in a minute'
	@echo '  make package          the Debian package and lintian'
	@echo '  make zfs              the scripts on real ZFS, on one emulated node'
	@echo '  make faults           disks that live at random and are killed, on one emulated node'
	@echo '  make cluster          Ganeti, on two emulated nodes'
	@echo '  make zfs ARGS="…"     one part, with arguments for pytest (PYTEST_ADDOPTS works too)'
	@echo 'make deb                build the package into dist/'
	@echo 'make demo               a VM on ZFS, shown step by step'
	@echo 'make proof PART=name    one of the proofs in tests/proof'
	@echo 'make soak               disks that live at random for an hour (LIVES=n STEPS=n SEED=n)'
	@echo 'make clean              remove what all of these made'

check: .tox-bootstrap/made
	$(TOX) run

$(PARTS): .tox-bootstrap/made
	$(TOX) run -e $@ $(if $(ARGS),-- $(ARGS))

.tox-bootstrap/made: tests/tools/bootstrap
	tests/tools/bootstrap
	touch $@

deb: .tox-bootstrap/made
	debian/build
	lintian --allow-root --fail-on error,warning dist/*.changes

demo:
	doc/demo

proof:
	tests/proof $(PART)

soak: .tox-bootstrap/made
	ZFSEXT_LIVES=$(or $(LIVES),20) ZFSEXT_STEPS=$(or $(STEPS),60) ZFSEXT_SEED=$(SEED) $(TOX) run -e faults -- tests/faults/test_random_life.py

clean:
	rm -rf build dist .tox .tox-bootstrap .hypothesis .mypy_cache .ruff_cache .pytest_cache *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

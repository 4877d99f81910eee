# Two commands need nothing but Python, a C++ compiler and make: `make demo` and `make test`.
# What they build is kept in .venv and in the user's cache folder; Ctrl-C loses none of it.

PYTHON ?= python3
ARGS ?=

preflight = $(PYTHON) installer/lumen_installer/preflight.py
prepare = $(preflight) && PYTHONPATH=installer:. $(PYTHON) -m lumen_installer.prepare

.PHONY: help demo test test-slow bench check fmt engine lock train-guide evaluate-guide clean

help:
	@echo "make demo       set everything up and chat with a model on a box made for the purpose"
	@echo "make test       set everything up and run every test, with no way out to any network"
	@echo "make test-slow  only the few long tests"
	@echo "make bench      compare its speed with that of cp, sha256sum and llama.cpp's own server; nothing here can fail"
	@echo "make check      ruff, mypy and the import contracts"
	@echo "make fmt        put the code into its usual form"
	@echo "make engine     build llama.cpp only, and show how far it is"
	@echo "make lock       resolve the dependencies anew and write requirements.lock"
	@echo "make train-guide     train the demo's model from nothing, with PyTorch in an environment of its own"
	@echo "make evaluate-guide  measure the demo's model, as its card says"
	@echo "make clean      remove .venv and the demo; the engine stays in the cache folder"
	@echo
	@echo "PYTHON=python3.12 chooses the Python, ARGS=\"-k medium\" is handed to pytest."

demo:
	@$(prepare) --engine start -- lumen-box demo models/guide/guide.gguf

test: build/train/installed
	@$(prepare) --with dev --engine wait -- python tests/run.py $(ARGS)

test-slow: build/train/installed
	@$(prepare) --with dev --engine wait -- python tests/run.py -m slow $(ARGS)

bench:
	@$(prepare) --with dev --engine wait -- python -m benchmarks $(ARGS)

check:
	@$(prepare) --with dev --engine none -- ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

fmt:
	@$(prepare) --with dev --engine none -- ruff format .
	@.venv/bin/ruff check --fix .

engine:
	@$(prepare) --engine wait

lock:
	@$(prepare) --with dev --engine none
	@.venv/bin/python -m pip install --quiet uv
	@.venv/bin/python -m lumen_installer.relock

# The shipped model is overwritten at the end only; ARGS="--folder build/guide" trains another beside it.
train-guide: build/train/installed
	@build/train/bin/python -m models.guide.train $(ARGS)

build/train/installed: models/guide/requirements.txt
	@$(preflight)
	@$(PYTHON) -m venv --clear build/train
	@build/train/bin/python -m pip install --disable-pip-version-check --requirement models/guide/requirements.txt
	@touch $@

evaluate-guide:
	@$(prepare) --engine wait -- python -m models.guide.evaluate $(ARGS)

clean:
	rm -rf .venv demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

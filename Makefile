# Everything runs in a virtual environment that is made on first use; VENV= chooses another folder, PYTHON= the interpreter for it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python

.PHONY: demo ocr test test-slow check bench clean

demo: $(VENV)/.installed-demo
	GLOG_minloglevel=2 $(RUN) -W "ignore:No ccache found" -m ptq demo

ocr: $(VENV)/.installed-ocr
	GLOG_minloglevel=2 $(RUN) -W "ignore:No ccache found" -m ptq ocr

# Without restarts: pytest-xdist waits for ever for the files of a worker that crashed among the last ones.
test: $(VENV)/.installed-dev
	$(RUN) -m pytest -m "not slow" -n auto --maxprocesses 4 --dist loadfile --max-worker-restart 0

test-slow: $(VENV)/.installed-dev
	$(RUN) -m pytest -m slow

check: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/.installed-dev
	$(RUN) -W "ignore:No ccache found" -m benchmarks.run_all

clean:
	rm -rf $(VENV) demo-output ocr-output build dist *.egg-info

# One stamp for each extra, so that only the first run installs; a change of pyproject.toml installs again.
$(VENV)/.installed-%: pyproject.toml
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet -e '.[$*]'
	touch $@

# Nothing is needed beforehand but Python ≥ 3.11 with venv. PYTHON=… names another one.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint docs coverage nightly sanitize dist clean

demo: $(READY)
	$(BIN)/regard demo translate runs/demo

# The tests run in as many processes as there are cores, but no more than 8, for each takes about a gigabyte. The long
# ones, which repeat a table on further instruction sets, masks, compilers and optimizers, are run by `make nightly`.
PROCESSES ?= auto
WEB := tests/web/node_modules/.package-lock.json
test: $(READY) $(WEB) lint
	$(BIN)/python -m pytest -q -m "not long" --numprocesses $(PROCESSES) --maxprocesses 8 --dist worksteal

# What checks the viewer's types and its accessibility. Without npm, or without a network, those tests are skipped.
$(WEB): tests/web/package-lock.json
	-if command -v npm > /dev/null; then npm ci --prefix tests/web --no-audit --no-fund --silent; fi

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(wildcard src/regard/kernels/cpu/native/*.h src/regard/kernels/cpu/native/*.cpp)
	$(BIN)/mypy

# The site, in site/index.html; it can be read from the disk.
docs: $(READY)
	$(BIN)/mkdocs build --quiet --strict

# The Python lines that the tests run, those of other processes among them. TESTS=… for some of the tests.
coverage: $(READY)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -q $(TESTS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

# What takes too long for each change; some hours. EXAMPLES is the number of random combinations of mechanisms.
EXAMPLES ?= 100000
nightly: sanitize
	$(BIN)/python -m pytest -q -m long --numprocesses $(PROCESSES) --maxprocesses 8 --dist worksteal
	REGARD_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -q tests/test_combinations.py
	for level in $$($(BIN)/python -c 'from regard.kernels.cpu import library; print(*library.levels[1:])'); do \
	  REGARD_CPU=$$level REGARD_EXAMPLES=$$(($(EXAMPLES) / 10)) $(BIN)/python -m pytest -q \
	    tests/test_combinations.py tests/test_extremes.py tests/test_mechanisms.py tests/test_units.py || exit; \
	done

# The wheel and the sdist in dist/, each installed and used with and without a C++ compiler.
dist:
	PYTHON=$(PYTHON) .ci/dist

# The C++ kernels' tests with AddressSanitizer and UBSan, then with ThreadSanitizer; some minutes.
FLAGS_address := ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD="$(shell g++ -print-file-name=libasan.so) $(shell g++ -print-file-name=libubsan.so)"
FLAGS_thread := TSAN_OPTIONS=ignore_noninstrumented_modules=1:report_signal_unsafe=0 LD_PRELOAD="$(shell g++ -print-file-name=libtsan.so)"
sanitize: sanitize-address sanitize-thread
sanitize-address: TESTS := tests/test_cpu.py tests/test_mechanisms.py tests/test_units.py tests/test_quick.py tests/test_threads.py tests/test_vmath.py tests/test_packed.py tests/test_few_queries.py tests/test_native_step.py tests/test_native_together.py tests/test_candidates.py tests/test_row_kernels.py -k "not compile and not opcheck and not fork and not starts and not gradients_of_first"
sanitize-thread: TESTS := tests/test_cpu.py tests/test_units.py tests/test_quick.py tests/test_threads.py tests/test_native_step.py tests/test_native_together.py -k "(sizes or tiles or threads or strides or broadcast) and not fork and not starts and not mechanisms_on and not masks_on"
sanitize-%: $(READY)
	cmake -S . -B build/$* -G Ninja -DREGARD_SANITIZE=$(if $(filter address,$*),address$(,)undefined,thread) -DCMAKE_BUILD_TYPE=Debug
	cmake --build build/$*
	$(FLAGS_$*) OMP_NUM_THREADS=2 $(BIN)/python tests/sanitize.py build/$* $(TESTS)
, := ,

$(READY): pyproject.toml constraints.txt CMakeLists.txt $(wildcard src/regard/kernels/cpu/native/*)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "regard needs Python 3.11 or newer, this is %d.%d" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) build dist runs site .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The commands of this project. `make` alone lists them.

SERVICES = python3 tests/services
PACKAGING = python3 tests/packaging

.PHONY: help
help: ## This list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 24

.PHONY: demo
demo: ## See it work: everything in one process, nothing to install. DEMO=--once ends it by itself.
	@scripts/can-build
	@[ -x target/demo/redline ] || echo "Compiling Redline; the first time takes some minutes." >&2
	@cargo build --profile demo --package redline
	@target/demo/redline demo $(DEMO)

.PHONY: test
test: ## Everything, against real services that it fetches, starts and stops itself.
	@$(SERVICES) check
	@$(SERVICES) fetch
	cargo build --workspace --bins
	$(SERVICES) run -- cargo test --workspace --no-fail-fast
	$(SERVICES) run --durable -- target/debug/redline-faults run --short
	$(PACKAGING)

.PHONY: test-fast
test-fast: ## What needs no service: units, properties, snapshots.
	cargo test --workspace --exclude redline-tests

.PHONY: test-jaeger
test-jaeger: ## Traces read back from a real Jaeger, which it first builds with Go: minutes, once.
	@$(SERVICES) check
	cargo build --workspace --bins
	$(SERVICES) run --jaeger -- cargo test -p redline-tests --test telemetry -- --ignored jaeger

.PHONY: lint
lint: ## Format, clippy, and what dependencies may be.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo deny check bans licenses sources

.PHONY: check-packaging
check-packaging: ## Dockerfile and docker-compose.yml, as far as that goes without containers. Part of make test.
	cargo build -p redline
	$(PACKAGING)

.PHONY: check-metrics
check-metrics: ## Rules and alerts against their tests, dashboards against Grafana's types. Needs promtool and npm.
	promtool check config configs/prometheus/prometheus.yml
	promtool test rules configs/prometheus/tests/*.yml
	tests/grafana/check

.PHONY: up
up: .env ## The whole system in containers; .env has its passwords and ports. Needs Docker with Compose 2.24 or newer.
	REDLINE_REVISION=$$(git rev-parse --short=12 HEAD 2> /dev/null || echo unknown) docker compose up --build --detach --wait
	@. ./.env && echo "Redline: http://127.0.0.1:$$REDLINE_PORT  Grafana: http://127.0.0.1:$$GRAFANA_PORT  Jaeger: http://127.0.0.1:$$JAEGER_PORT"

.PHONY: down
down: ## Stop it. What it recorded stays; DOWN=--volumes removes that too.
	docker compose down $(DOWN)

.env:
	scripts/make-env

.PHONY: dev-bootstrap
dev-bootstrap: ## Make a Debian or Ubuntu machine ready to build, test and commit; again is harmless.
	@scripts/bootstrap

.PHONY: bench
bench: ## The recording path against its floors: release build, Postgres with fsync. BENCH="--versions 68" for more.
	@$(SERVICES) check
	cargo build --release -p redline
	$(SERVICES) run --durable -- sh tests/bench.sh $(BENCH)

.PHONY: faults
faults: ## The crash matrix, with Kafka as three brokers: hours. It goes on where it was interrupted. FAULTS="--seeds 1-5 --fault relay-killed".
	@$(SERVICES) check
	cargo build --workspace --bins
	REDLINE_PREVIOUS_BIN=$$(scripts/previous-binary) $(SERVICES) run --durable --brokers 3 -- \
		target/debug/redline-faults run --results docs/reliability.jsonl $(FAULTS)
	target/debug/redline-faults page docs > docs/reliability.md

.PHONY: faults-breaks
faults-breaks: ## Whether the crash matrix notices what is broken on purpose.
	@$(SERVICES) check
	cargo build --workspace --bins
	$(SERVICES) run --durable -- target/debug/redline-faults breaks --results docs/reliability-breaks.jsonl
	target/debug/redline-faults page docs > docs/reliability.md

.PHONY: fuzz
fuzz: ## Every fuzz target for FUZZ_SECONDS each (default 60). Needs cargo-fuzz; what it finds new stays in fuzz/target.
	cd fuzz && cargo fuzz build --sanitizer none
	@cd fuzz && for target in $$(cargo fuzz list); do \
		echo "fuzz: $$target for $(or $(FUZZ_SECONDS),60) s"; \
		mkdir -p target/corpus/$$target; \
		cargo fuzz run --sanitizer none $$target target/corpus/$$target corpus/$$target -- \
			-max_total_time=$(or $(FUZZ_SECONDS),60) -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
			> target/$$target.log 2>&1 || { tail -40 target/$$target.log; exit 1; }; \
		grep number_of_executed target/$$target.log; \
	done

.PHONY: docs
docs: ## The reference pages, from the code.
	REDLINE_WRITE_REFERENCE=1 cargo test -p redline --bin redline reference
	cargo run -q -p redline-tests --bin redline-faults -- page docs > docs/reliability.md

# Everything a user or CI needs is a target here; `make` alone prints the list.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

CARGO ?= cargo
# TLS comes from the system's OpenSSL where its headers are found; else it is compiled here (needs perl).
TLS := $(shell pkg-config --exists openssl 2>/dev/null && echo tls || echo tls-vendored)
FEATURES := --no-default-features --features $(TLS)
DASHPROOF := target/debug/dashproof
SEEDS ?= 0..8
# A disk's seeds take turns through the three variants of stores.
DISK_SEEDS ?= 0..3
# Histories of cells that do not pass are kept below OUT; all of them with `make chaos KEEP=--out`.
OUT ?= target/chaos
KEEP ?= --failures
# What GSSAPI needs beyond a Rust toolchain.
KERBEROS := apt-get install krb5-kdc krb5-admin-server krb5-user libsasl2-dev libsasl2-modules-gssapi-mit

.PHONY: help chaos chaos-full gssapi kafka-chosen kafka-image test prove lint fmt bench docs build fuzz-check clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' \
	  | awk -F'\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

build: ## Build the harness (dev profile: the one that tests and chaos share)
	$(CARGO) build --locked --workspace $(FEATURES)
	@sync $(DASHPROOF) # a program that is still being written out lets its own processes wait

# A signal (130 and more) ends a target at once; everything else lets the next part run, and the first code counts.
chaos: build ## Run every scenario on the embedded lanes, then prove the laws with saboteurs
	@run=0; prove=0; \
	$(DASHPROOF) run --lanes sim,disk,files,wire,mock --seeds $(SEEDS) --seeds disk=$(DISK_SEEDS) --allow-not-run $(KEEP) $(OUT) | tee target/chaos-run.txt || run=$$?; \
	[ $$run -lt 128 ] || exit $$run; \
	$(DASHPROOF) prove | tee target/chaos-prove.txt || prove=$$?; \
	[ $$prove -lt 128 ] || exit $$prove; \
	echo; echo "== make chaos"; \
	tail -n 1 target/chaos-run.txt; tail -n 1 target/chaos-prove.txt; \
	if [ $$run -ne 0 ]; then exit $$run; fi; exit $$prove

chaos-full: build ## The same, every scenario on Apache Kafka in containers, and all lanes compared (needs Docker)
	@code=0; \
	part() { local rc=0; "$$@" || rc=$$?; [ $$rc -lt 128 ] || exit $$rc; [ $$code -ne 0 ] || code=$$rc; }; \
	part $(MAKE) chaos; \
	part $(DASHPROOF) run --lanes sim,wire,mock,kafka --agree $(KEEP) $(OUT); \
	part $(DASHPROOF) prove --lanes kafka; \
	if pkg-config --exists libsasl2 && command -v kinit >/dev/null && PATH="$$PATH:/usr/sbin" command -v krb5kdc >/dev/null; then \
	  part $(MAKE) gssapi; \
	else \
	  echo "NOT RUN: make gssapi: $(KERBEROS)"; \
	fi; \
	exit $$code

gssapi: ## The scenarios of GSSAPI on the lane kafka, in a build with that feature (needs MIT Kerberos)
	$(CARGO) build --locked -p dashproof $(FEATURES),gssapi
	$(DASHPROOF) run 'security/gssapi*' --lanes kafka $(KEEP) $(OUT)

kafka-chosen: build ## A chosen part of the lane kafka: security, a killed leader, and agreement with the model
	$(DASHPROOF) run --family security --lanes kafka $(KEEP) $(OUT)
	$(DASHPROOF) prove --lanes kafka
	$(DASHPROOF) run shutdown/in-flight outage/leader-killed --lanes kafka $(KEEP) $(OUT)
	$(DASHPROOF) run --tag agree --lanes sim,wire,mock,kafka --agree --jobs 4 $(KEEP) $(OUT)

kafka-image: ## Build the image of the lane kafka where no container registry can be reached
	chaos/containers/build

prove: build ## Put every known weakness back and show that it is caught
	$(DASHPROOF) prove

test: ## Run the tests, determinism first
	$(CARGO) test --locked -p dashproof $(FEATURES) --test determinism
	$(CARGO) test --locked --workspace $(FEATURES)

lint: ## Formatting, clippy and tidy rules
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets $(FEATURES) -- -D warnings
	$(CARGO) test --locked -p dashproof $(FEATURES) --test tidy

fmt: ## Format the code
	$(CARGO) fmt --all

docs: ## Build the manual (rustdoc); broken links are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps $(FEATURES)

bench: ## Measure speed as ratios against named baselines
	$(CARGO) bench --locked -p dashproof-benches $(FEATURES)

fuzz-check: ## Check that the fuzz targets build
	$(CARGO) check --manifest-path reference/fuzz/Cargo.toml

clean: ## Remove what builds made
	$(CARGO) clean

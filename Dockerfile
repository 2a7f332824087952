# The image of all roles: `docker build -t redline .`; docker-compose.yml says how they are run.
#
# The tags name suites that are rebuilt with security fixes. Where the same bytes are wanted twice, give the digests:
# --build-arg DEBIAN_IMAGE=debian:bookworm-slim@sha256:…
ARG RUST_IMAGE=rust:1.95.0-slim-bookworm
ARG DEBIAN_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
# Debian takes a package's old version away with its next fix, so that a pinned one soon cannot be built any more.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential libssl-dev pkg-config zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The names of functions stay for backtraces; their lines, four fifths of the file, do not.
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo
ARG PROFILE=release
# What `redline_build_info` says: --build-arg REDLINE_REVISION="$(git rev-parse --short=12 HEAD)"
ARG REDLINE_REVISION
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --locked --package redline --profile "${PROFILE}" --target-dir "target/${PROFILE}" \
    && install -D target/"${PROFILE}"/*/redline /out/redline

FROM ${DEBIAN_IMAGE}
# What the binary links to (librdkafka is in it, and needs OpenSSL and zlib), and whom to trust.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin redline
COPY configs/redline.toml configs/rules.toml /etc/redline/
COPY --chmod=755 docker/answers /usr/local/bin/answers
COPY --from=build /out/redline /usr/local/bin/redline
ENV REDLINE_CONFIG=/etc/redline/redline.toml \
    REDLINE_MIGRATE__RULES=/etc/redline/rules.toml
# By number: Kubernetes' runAsNonRoot does not read names.
USER 10001:10001
# No HEALTHCHECK: which address tells how a role is depends on the role and its settings, and `migrate` has none.
ENTRYPOINT ["/usr/local/bin/redline"]
CMD ["--help"]

# The final image contains a static binary, its licenses and the CA certificates: no shell, no libraries, no package manager.
FROM docker.io/library/rust:1.95-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates musl-tools \
    && rm -rf /var/lib/apt/lists/* \
    && rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /src
# Build the dependencies in a layer of their own, which is rebuilt only when they change.
COPY Cargo.toml Cargo.lock build.rs askama.toml ./
COPY .cargo .cargo
RUN mkdir -p src tests/shipping benches/compare \
    && touch src/lib.rs tests/main.rs tests/shipping/main.rs benches/decoders.rs benches/stages.rs benches/compare/main.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --locked --release --target "$(uname -m)-unknown-linux-musl" \
    && rm -r src
COPY src src
# Version and commit, as reported by `--version`, tryvox_exporter_build_info and the image labels.
ARG VERSION=0.1.0
ARG REVISION=unknown
RUN mkdir /state \
    && touch src/lib.rs src/main.rs \
    && TRYVOX_EXPORTER_REVISION="$REVISION" cargo build --locked --release --target "$(uname -m)-unknown-linux-musl" \
    && mv target/*-musl/release/tryvox-exporter /tryvox-exporter \
    && case "$(/tryvox-exporter --version)" in "tryvox-exporter $VERSION (revision $REVISION,"*) ;; *) /tryvox-exporter --version; exit 1 ;; esac

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="tryvox-exporter" \
      org.opencontainers.image.description="Prometheus exporter for the phone numbers that a company rents from TryVox" \
      org.opencontainers.image.source="https://github.com/tryvox-exporter/tryvox-exporter" \
      org.opencontainers.image.url="https://github.com/tryvox-exporter/tryvox-exporter" \
      org.opencontainers.image.documentation="https://github.com/tryvox-exporter/tryvox-exporter/blob/main/docs/README.md" \
      org.opencontainers.image.vendor="The tryvox-exporter developers" \
      org.opencontainers.image.authors="The tryvox-exporter developers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /tryvox-exporter /usr/bin/tryvox-exporter
COPY LICENSE deploy/licenses/THIRD-PARTY.txt /usr/share/doc/tryvox-exporter/
# For a state file: a new volume that is mounted here belongs to the user of the image.
COPY --from=build --chown=65532:65532 /state /var/lib/tryvox-exporter
USER 65532:65532
EXPOSE 10869
STOPSIGNAL SIGTERM
# Without flags, it asks the exporter of this container, which publishes how it is configured.
HEALTHCHECK CMD ["/usr/bin/tryvox-exporter", "healthcheck"]
ENTRYPOINT ["/usr/bin/tryvox-exporter"]

# Built in Debian, run in distroless: no shell, no package manager, the libraries that Rust's
# standard library needs, and the certificates that TLS trusts.
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
# The dependencies first: they are built anew only when they change.
COPY Cargo.toml Cargo.lock build.rs askama.toml ./
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && mkdir tests && touch tests/main.rs \
    && cargo build --locked --release \
    && rm -r src tests
COPY src src
# What the image was built from, as `--version` and tryvox_exporter_build_info say it.
ARG REVISION=unknown
RUN touch src/lib.rs src/main.rs \
    && TRYVOX_EXPORTER_REVISION="$REVISION" cargo build --locked --release

FROM gcr.io/distroless/cc-debian12
COPY --from=build /src/target/release/tryvox-exporter /usr/bin/tryvox-exporter
USER 65532:65532
EXPOSE 10869
STOPSIGNAL SIGTERM
# It asks the address of TRYVOX_EXPORTER_WEB_LISTEN_ADDRESS, or the default.
HEALTHCHECK CMD ["/usr/bin/tryvox-exporter", "healthcheck"]
ENTRYPOINT ["/usr/bin/tryvox-exporter"]

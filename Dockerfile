# syntax=docker/dockerfile:1

# The same version as rust-toolchain.toml (`ops/test readme` compares them).
FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked -p chinwag \
    && cp target/dist/chinwag /chinwag \
    && mkdir /data

# glibc and nothing else: no shell, no package manager. Its user `nonroot` is 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /chinwag /usr/local/bin/chinwag
COPY --from=build --chown=65532:65532 /data /data

# All interfaces of the container; the operations listener stays on its loopback unless a token file is given.
ENV CHINWAG_DATA=/data \
    CHINWAG_HTTP=0.0.0.0:3000 \
    CHINWAG_MESSENGER=0.0.0.0:4000 \
    CHINWAG_PRESENCE=0.0.0.0:5000 \
    CHINWAG_OPS=127.0.0.1:9600 \
    CHINWAG_LOG_FORMAT=json

WORKDIR /data
VOLUME /data
EXPOSE 3000 4000 5000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/usr/local/bin/chinwag", "health"]
ENTRYPOINT ["/usr/local/bin/chinwag"]
CMD ["serve"]

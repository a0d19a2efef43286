# The first stage builds. The second one holds the binary and what it loads, and nothing else.
# compat/deploy/README.md tells how to run it; the tests run the same files without an engine.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked \
    && compat/deploy/image/layout target/release/chatferry /image

FROM scratch
COPY --from=build /image/system/ /
COPY --from=build --chown=10001:10001 /image/user/ /
USER 10001:10001
# For the SQLite file of the embedded default. With another database nothing is ever written, and
# the whole file system may be read-only.
WORKDIR /data
VOLUME /data
EXPOSE 8000
# Every caller comes from outside the container: unless `auth.identity` says who is who,
# `CHATFERRY__AUTH__ALLOW_ANONYMOUS=true` has to be asked for by name.
ENV PORT=8000 CHATFERRY__LOG__FORMAT=json
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/bin/chatferry", "healthcheck"]
ENTRYPOINT ["/usr/bin/chatferry"]

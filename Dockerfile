# Muster's image: the program that `make build` made on this machine, the authorities that it trusts, and its data directory.
#
# The program comes from the build's context, because whoever works on Muster has Rust already (README.md), and the image is
# then the program that was tested. `make image` calls this file; deploy/README.md says more.

# The C library of the base must be as new as that of the machine that built the program: on Debian 13 or Ubuntu 24.04
# give --build-arg BASE=debian:trixie-slim.
ARG BASE=debian:bookworm-slim

FROM $BASE AS program
ARG SOURCE_DATE_EPOCH=0
COPY target/release/muster /out/muster
# A program that does not start on this base is found here, and not on the cluster.
RUN /out/muster --version || { echo 'Dockerfile: the program needs a newer base: --build-arg BASE=debian:trixie-slim' >&2; exit 1; } \
    && chmod 0755 /out/muster && mkdir /state && mkdir -m 0700 /state/muster \
    && touch -d "@$SOURCE_DATE_EPOCH" /out/muster /state/muster

FROM $BASE AS authorities
ARG SOURCE_DATE_EPOCH=0
# A base that has the authorities, such as a house's own, needs no network here.
RUN [ -s /etc/ssl/certs/ca-certificates.crt ] \
    || { apt-get update -qq && apt-get install -y -qq --no-install-recommends ca-certificates; } \
    && touch -d "@$SOURCE_DATE_EPOCH" /etc/ssl/certs/ca-certificates.crt

FROM $BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Muster" \
      org.opencontainers.image.description="Runs container challenges: pull, sandbox, probe, verdict, map" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=authorities /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=program /out/muster /usr/local/bin/
# A named volume that is mounted here gets this owner.
COPY --from=program --chown=10001:10001 /state /var/lib/
USER 10001:10001
WORKDIR /var/lib/muster
ENV MUSTER_DATA=/var/lib/muster MUSTER_LISTEN=0.0.0.0:8080 MUSTER_LOG_FORMAT=json
EXPOSE 8080
# Whether the process lives, and not whether it is ready: an engine restarts what is unhealthy, and a restart does not bring
# MongoDB back. There is no HTTP client in the image, but bash opens connections.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 \
    CMD ["bash", "-c", "exec 3<>\"/dev/tcp/127.0.0.1/${MUSTER_LISTEN##*:}\" && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r line <&3 && [[ $line == *' 200 '* ]]"]
ENTRYPOINT ["muster"]
CMD ["up"]

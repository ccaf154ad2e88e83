# docker build -t vidflow . (or `make image`, which says which commit it is of)
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src
ENV CGO_ENABLED=0 GOWORK=off
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION REVISION CREATED
# As a release is built (tools/release): the binary is the same.
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.version=$VERSION -X main.revision=$REVISION -X main.revisionTime=$CREATED" -o /vidflow ./cmd/vidflow

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /vidflow /vidflow
USER 65532:65532
ENTRYPOINT ["/vidflow"]
# Asks at OPS_ADDR, or where the process answers without it.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s CMD ["/vidflow", "probe"]
ARG VERSION REVISION CREATED
LABEL org.opencontainers.image.title="vidflow" \
      org.opencontainers.image.description="A durable workflow for every video: asks for its transcription over Kafka, waits for the results, stores them." \
      org.opencontainers.image.source="https://github.com/codeendelea/vidflow" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"

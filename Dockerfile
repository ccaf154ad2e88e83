# docker build -t vidflow .    (`make image` also tells it the version)
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src
ENV CGO_ENABLED=0 GOWORK=off
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# Of the platform that the image is for; set by the builder.
ARG TARGETOS
ARG TARGETARCH
ARG VERSION
ARG REVISION
ARG CREATED
# As a release is built (tools/release): the binary is the same.
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.version=$VERSION -X main.revision=$REVISION -X main.revisionTime=$CREATED" -o /vidflow ./cmd/vidflow

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /vidflow /vidflow
USER 65532:65532
ENTRYPOINT ["/vidflow"]
# Asks at OPS_ADDR or, where that is unset, where the process then answers.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 CMD ["/vidflow", "probe"]
ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.title="vidflow" \
      org.opencontainers.image.description="A durable workflow for every video: asks for its transcription over Kafka, waits for the results, stores them" \
      org.opencontainers.image.source="https://github.com/codeendelea/vidflow" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"

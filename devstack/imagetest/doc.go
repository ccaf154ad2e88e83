// Package imagetest builds the container image as its Dockerfile says, without a daemon and without a registry, and runs it as
// a container is run. It needs buildah, and root: `make test-image`.
package imagetest

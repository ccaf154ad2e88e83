package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
)

// These are set by the linker (-ldflags "-X main.version=v1.2.3") where a release or an image is built. Without them the
// build information says.
var version, revision, revisionTime string

// build is what is known about this binary.
type build struct {
	Version  string
	Revision string // of the source, with "-dirty" after one that was changed
	Time     string // of the revision
	Go       string
}

func buildInfo() build {
	b := build{Version: version, Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok {
		b.Version = cmp.Or(b.Version, info.Main.Version)
		settings := make(map[string]string)
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		b.Revision, b.Time = settings["vcs.revision"], settings["vcs.time"]
		if settings["vcs.modified"] == "true" {
			b.Revision += "-dirty"
		}
	}
	if revision != "" {
		b.Revision, b.Time = revision, revisionTime
	}
	b.Version = cmp.Or(b.Version, "(devel)")
	return b
}

// ID is the same for all binaries made of a revision or version, and short, since the history of each run has it six times:
// the version that the linker was told, else the first letters of the revision, the last one a plus after a changed one.
func (b build) ID() string {
	const letters = 12
	switch {
	case version != "":
		return version
	case len(b.Revision) < letters:
		return b.Version
	case strings.HasSuffix(b.Revision, "-dirty"):
		return b.Revision[:letters-1] + "+"
	}
	return b.Revision[:letters]
}

func printVersion(w io.Writer) error {
	b := buildInfo()
	_, err := fmt.Fprintf(w, "vidflow %s\nrevision %s %s\n%s\n", b.Version, cmp.Or(b.Revision, "unknown"), b.Time, b.Go)
	return err
}

// Command release builds what a release consists of, from the commit that is checked out: an archive with the binary for
// each platform, its bill of materials, and the checksums of all of them. Everything in them follows from the commit and the
// version of Go alone, so that whoever builds it again gets the same bytes.
package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/CycloneDX/cyclonedx-gomod/pkg/generate/bin"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
)

const (
	name    = "vidflow"
	targets = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64"
	// atOnce bounds the builds that run side by side: the compiler uses every core, the linker mostly one.
	atOnce    = 2
	checksums = "SHA256SUMS"
)

// besides are the files that an archive has beside the binary; of these the last may be missing.
var besides = []string{"README.md", "CHANGELOG.md", "LICENSE"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, ".", os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// run releases what is checked out in the repository that dir belongs to.
func run(ctx context.Context, dir string, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	platforms := flags.String("targets", targets, "platforms to build for")
	out := flags.String("out", filepath.Join("out", "release"), "folder to write to, from the root of the repository; it is emptied first")
	dirty := flags.Bool("dirty", false, "build from a tree with changes too; the version then ends in -dirty")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	}
	var artifacts []artifact
	for platform := range strings.SplitSeq(*platforms, ",") {
		goos, goarch, ok := strings.Cut(platform, "/")
		if !ok {
			return fmt.Errorf("target %q is not like linux/amd64", platform)
		}
		artifacts = append(artifacts, artifact{goos: goos, goarch: goarch})
	}
	root, err := git(ctx, dir, "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	c, err := checkedOut(ctx, root)
	if err != nil {
		return err
	}
	if c.changes != "" && !*dirty {
		return fmt.Errorf("the tree has changes: commit them, or have them in it with make release ARGS=--dirty\n%s", c.changes)
	}
	if err := c.described(); err != nil {
		return err
	}
	if !filepath.IsAbs(*out) {
		*out = filepath.Join(root, *out)
	}
	if err := empty(*out); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()

	builds, ctx := errgroup.WithContext(ctx)
	builds.SetLimit(atOnce)
	for _, a := range artifacts {
		a.commit = c
		builds.Go(func() error {
			if err := a.make(ctx, filepath.Join(work, a.goos+"-"+a.goarch), *out); err != nil {
				return fmt.Errorf("%s/%s: %w", a.goos, a.goarch, err)
			}
			return nil
		})
	}
	if err := builds.Wait(); err != nil {
		return err
	}
	sums, err := sum(*out)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(*out, checksums), sums, 0o644); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s %s, in %s:\n%s", name, c.version, *out, sums)
	return err
}

// empty makes the folder anew. It removes nothing but what a release consists of.
func empty(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != checksums && !strings.HasPrefix(e.Name(), name+"_") {
			return fmt.Errorf("%s has %s, which is no part of a release: name another folder", dir, e.Name())
		}
	}
	for _, e := range entries {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// commit is what the release is made from.
type commit struct {
	root     string
	version  string // v1.2.3 at a tag, v1.2.3-4-g0123456789ab after it, 0123456789ab before there is one
	revision string
	time     time.Time // of the commit
	changes  string    // what differs from it
}

func (c commit) created() string { return c.time.Format(time.RFC3339) }

func checkedOut(ctx context.Context, root string) (commit, error) {
	c := commit{root: root}
	var err error
	if c.changes, err = git(ctx, root, "status", "--porcelain"); err != nil {
		return c, err
	}
	if c.revision, err = git(ctx, root, "rev-parse", "HEAD"); err != nil {
		return c, err
	}
	seconds, err := git(ctx, root, "show", "--no-patch", "--format=%ct", "HEAD")
	if err != nil {
		return c, err
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return c, fmt.Errorf("time of the commit: %w", err)
	}
	c.time = time.Unix(unix, 0).UTC()
	// As many letters of a revision as Go has in a version: git's own choice depends on the clone.
	if c.version, err = git(ctx, root, "describe", "--tags", "--always", "--match=v[0-9]*", "--abbrev=12"); err != nil {
		return c, err
	}
	if c.changes != "" {
		c.version += "-dirty"
		c.revision += "-dirty"
	}
	return c, nil
}

// described sees that a version has a section in the changelog; what is between versions, or a candidate, needs none.
func (c commit) described() error {
	if !regexp.MustCompile(`^v\d+\.\d+\.\d+$`).MatchString(c.version) {
		return nil
	}
	changes, err := os.ReadFile(filepath.Join(c.root, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	if section := "\n## [" + c.version[1:] + "] - "; !bytes.Contains(changes, []byte(section)) {
		return fmt.Errorf("CHANGELOG.md does not say what %s changes: put%sand its day below Unreleased, and tag that commit", c.version, strings.ReplaceAll(section, "\n", " "))
	}
	return nil
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	return output(ctx, dir, nil, "git", args...)
}

func output(ctx context.Context, dir string, env []string, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, stderr.Bytes())
	}
	return strings.TrimRight(string(out), "\n"), nil
}

// artifact is what is released for one platform.
type artifact struct {
	commit
	goos, goarch string
}

// stem is the name of the archive, without its ending.
func (a artifact) stem() string {
	return strings.Join([]string{name, strings.TrimPrefix(a.version, "v"), a.goos, a.goarch}, "_")
}

// make builds in the folder work and writes archive and bill of materials to the folder out.
func (a artifact) make(ctx context.Context, work, out string) error {
	binary := filepath.Join(work, name)
	if a.goos == "windows" {
		binary += ".exe"
	}
	if err := a.build(ctx, binary); err != nil {
		return err
	}
	materials, err := a.materials(binary)
	if err != nil {
		return fmt.Errorf("bill of materials: %w", err)
	}
	if err := os.WriteFile(filepath.Join(out, a.stem()+".cdx.json"), materials, 0o644); err != nil {
		return err
	}
	files := []string{binary}
	for _, file := range besides {
		path := filepath.Join(a.root, file)
		if _, err := os.Stat(path); err == nil {
			files = append(files, path)
		} else if file != "LICENSE" {
			return err
		}
	}
	write, ending := writeTar, ".tar.gz"
	if a.goos == "windows" {
		write, ending = writeZip, ".zip"
	}
	var archive bytes.Buffer
	if err := write(&archive, a.stem(), files, binary, a.time); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return os.WriteFile(filepath.Join(out, a.stem()+ending), archive.Bytes(), 0o644)
}

// build compiles as the Dockerfile does, whatever the environment says: not with the versions of the workspace, and without
// what Go finds out about the repository by itself, which is not there when an image is built.
func (a artifact) build(ctx context.Context, binary string) error {
	env := []string{
		"GOOS=" + a.goos, "GOARCH=" + a.goarch, "GOAMD64=v1", "GOARM64=v8.0",
		"CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "GOEXPERIMENT=",
	}
	linked := fmt.Sprintf("-s -w -X main.version=%s -X main.revision=%s -X main.revisionTime=%s", a.version, a.revision, a.created())
	_, err := output(ctx, a.root, env, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", linked, "-o", binary, "./cmd/"+name)
	return err
}

// materials lists the modules that are in the binary, as CycloneDX has it, in JSON.
func (a artifact) materials(binary string) ([]byte, error) {
	generator, err := bin.NewGenerator(binary,
		bin.WithIncludeStdlib(true), bin.WithVersionOverride(a.version), bin.WithLogger(zerolog.Nop()))
	if err != nil {
		return nil, err
	}
	bom, err := generator.Generate()
	if err != nil {
		return nil, err
	}
	bom.Metadata.Timestamp = a.created()
	var text bytes.Buffer
	encoder := cdx.NewBOMEncoder(&text, cdx.BOMFileFormatJSON).SetPretty(true)
	err = encoder.Encode(bom)
	return text.Bytes(), err
}

// writeTar writes the files into one folder of an archive. The named one is a program.
func writeTar(w io.Writer, folder string, files []string, program string, at time.Time) error {
	compressed, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(compressed)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		header := &tar.Header{
			Name: folder + "/" + filepath.Base(file), Mode: int64(mode(file == program)), Size: int64(len(content)), ModTime: at, Format: tar.FormatUSTAR,
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(content); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), compressed.Close())
}

// writeZip does the same for Windows.
func writeZip(w io.Writer, folder string, files []string, program string, at time.Time) error {
	archive := zip.NewWriter(w)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		header := &zip.FileHeader{Name: folder + "/" + filepath.Base(file), Method: zip.Deflate, Modified: at}
		header.SetMode(mode(file == program))
		entry, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := entry.Write(content); err != nil {
			return err
		}
	}
	return archive.Close()
}

func mode(program bool) os.FileMode {
	if program {
		return 0o755
	}
	return 0o644
}

// sum lists the files of a folder as sha256sum does.
func sum(dir string) ([]byte, error) {
	files, err := filepath.Glob(filepath.Join(dir, name+"_*"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var sums bytes.Buffer
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), filepath.Base(file))
	}
	return sums.Bytes(), nil
}

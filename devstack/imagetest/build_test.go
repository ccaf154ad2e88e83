package imagetest

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// golang is a folder that stands in for the image which the Dockerfile builds in: a shell, and what that needs. Go itself,
// its caches and modules are those of this machine.
func golang(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	put(t, shell, filepath.Join(dir, "bin", "sh"))
	for _, library := range regexp.MustCompile(`/\S+`).FindAllString(output(t, "ldd", shell), -1) {
		put(t, library, filepath.Join(dir, library))
	}
	put(t, bundle, filepath.Join(dir, bundle))
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	dockerfile := "FROM scratch\nCOPY . /\n" +
		"ENV PATH=/usr/local/go/bin:/bin GOTOOLCHAIN=local GOCACHE=/cache/build GOMODCACHE=/cache/mod GOPROXY=" + goEnv(t, "GOPROXY") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// store is where buildah keeps what this test builds.
type store struct {
	t   *testing.T
	dir string
}

func newStore(t *testing.T) *store {
	t.Helper()
	s := &store{t: t, dir: t.TempDir()}
	t.Cleanup(func() { // the files belong to others, and some may not be written
		if out, err := s.command("rm", "--all").CombinedOutput(); err != nil {
			t.Errorf("buildah rm: %v\n%s", err, out)
		}
	})
	return s
}

func (s *store) command(args ...string) *exec.Cmd {
	options := []string{
		"--storage-driver=vfs", "--root=" + filepath.Join(s.dir, "root"), "--runroot=" + filepath.Join(s.dir, "run"),
	}
	return exec.Command("buildah", append(options, args...)...)
}

func (s *store) buildah(args ...string) string {
	s.t.Helper()
	return outputOf(s.t, s.command(args...))
}

// release is the binary that is released for this platform, with what it says of itself.
type release struct {
	binary                   string
	version, revision, built string
	arguments                []string // of a build, that say the same
}

func newRelease(t *testing.T) release {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "run", "./release", "--dirty", "--out="+dir, "--targets="+runtime.GOOS+"/"+runtime.GOARCH)
	cmd.Dir = filepath.Join(repository(t), "tools")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	outputOf(t, cmd)
	archives, err := filepath.Glob(filepath.Join(dir, "*.tar.gz"))
	if err != nil || len(archives) != 1 {
		t.Fatalf("released %v, error %v", archives, err)
	}
	output(t, "tar", "--extract", "--file="+archives[0], "--directory="+dir, "--strip-components=1")
	r := release{binary: filepath.Join(dir, "vidflow")}
	said := regexp.MustCompile(`^vidflow (\S+)\nrevision (\S+) (\S+)\n`).FindStringSubmatch(output(t, r.binary, "version"))
	if said == nil {
		t.Fatalf("the release says %q", output(t, r.binary, "version"))
	}
	r.version, r.revision, r.built = said[1], said[2], said[3]
	at, err := time.Parse(time.RFC3339, r.built)
	if err != nil {
		t.Fatal(err)
	}
	r.arguments = []string{
		"--isolation=chroot", "--format=docker", "--pull=never", "--platform=linux/" + runtime.GOARCH, "--timestamp=" + strconv.FormatInt(at.Unix(), 10),
		"--build-arg=VERSION=" + r.version, "--build-arg=REVISION=" + r.revision, "--build-arg=CREATED=" + r.built,
	}
	return r
}

// build builds the whole Dockerfile, and returns the image's id.
func (s *store) build(r release) string {
	s.t.Helper()
	base := golang(s.t)
	tag := regexp.MustCompile(`(?m)^FROM .*(golang:\S+) AS build$`).FindStringSubmatch(read(s.t, filepath.Join(repository(s.t), "Dockerfile")))
	if tag == nil {
		s.t.Fatal("the Dockerfile builds in no image of Go's")
	}
	s.buildah("build", "--quiet", "--isolation=chroot", "--platform=linux/"+runtime.GOARCH, "--tag=docker.io/library/"+tag[1], base)
	args := append([]string{
		"build", "--quiet", "--volume=" + goEnv(s.t, "GOROOT") + ":/usr/local/go:ro", "--volume=" + goEnv(s.t, "GOCACHE") + ":/cache/build",
		"--volume=" + goEnv(s.t, "GOMODCACHE") + ":/cache/mod",
	}, r.arguments...)
	return s.buildah(append(args, repository(s.t))...)
}

// assemble builds the final stage alone, of a binary that is there, and returns the image's id.
func (s *store) assemble(r release) string {
	s.t.Helper()
	stage := s.t.TempDir()
	put(s.t, r.binary, filepath.Join(stage, "vidflow"))
	put(s.t, bundle, filepath.Join(stage, bundle))
	return s.buildah(append(append([]string{"build", "--quiet", "--build-context=build=" + stage}, r.arguments...), repository(s.t))...)
}

// image is what the image says of itself.
type image struct {
	Config struct {
		User        string
		Env         []string
		Entrypoint  []string
		Cmd         []string
		Labels      map[string]string
		Healthcheck struct {
			Test                           []string
			Interval, Timeout, StartPeriod time.Duration
		}
	} `json:"config"`
	Created time.Time `json:"created"`
}

func (s *store) inspect(id string) image {
	s.t.Helper()
	var inspected struct{ Docker image }
	if err := json.Unmarshal([]byte(s.buildah("inspect", "--type=image", id)), &inspected); err != nil {
		s.t.Fatal(err)
	}
	return inspected.Docker
}

// layers are the hashes of what an image's files are packed in.
func (s *store) layers(id string) []string {
	s.t.Helper()
	var inspected struct{ Manifest string }
	if err := json.Unmarshal([]byte(s.buildah("inspect", "--type=image", id)), &inspected); err != nil {
		s.t.Fatal(err)
	}
	var manifest struct{ Layers []struct{ Digest string } }
	if err := json.Unmarshal([]byte(inspected.Manifest), &manifest); err != nil {
		s.t.Fatal(err)
	}
	if len(manifest.Layers) == 0 {
		s.t.Fatalf("%s has no layers", id)
	}
	var digests []string
	for _, layer := range manifest.Layers {
		digests = append(digests, layer.Digest)
	}
	return digests
}

// container makes a container of the image, with what a runtime adds, and returns where its files are, twice: as what runs in
// it has them, read-only, and to change them.
func (s *store) container(id string) (readOnly, files string) {
	s.t.Helper()
	files = s.buildah("mount", s.buildah("from", "--pull=never", id))
	if err := os.WriteFile(filepath.Join(files, "etc", "hosts"), []byte("127.0.0.1 localhost\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(files, "etc", "hosts"), 0o644); err != nil {
		s.t.Fatal(err)
	}
	readOnly = s.t.TempDir()
	output(s.t, "mount", "--bind", files, readOnly)
	s.t.Cleanup(func() {
		if out, err := exec.Command("umount", readOnly).CombinedOutput(); err != nil {
			s.t.Errorf("umount: %v\n%s", err, out)
		}
	})
	output(s.t, "mount", "-o", "remount,bind,ro", readOnly)
	return readOnly, files
}

// bundle is where the authorities to trust are, here and in the image.
const bundle = "/etc/ssl/certs/ca-certificates.crt"

func put(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, info.Mode().Perm()); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func repository(t *testing.T) string {
	t.Helper()
	return output(t, "git", "rev-parse", "--show-toplevel")
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	return output(t, "go", "env", name)
}

func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	return outputOf(t, exec.Command(program, args...))
}

func outputOf(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

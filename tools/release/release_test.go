package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// What the clones are tagged with: a candidate, which needs no section in the changelog.
const (
	version = "9.8.7-rc.1"
	tag     = "v" + version
)

// TestRelease builds all that a release has, a part of it twice: from a clone, and from a worktree of that in another folder
// and with another environment. What is there must be what the documents say, and the same both times.
func TestRelease(t *testing.T) {
	first := clone(t)
	build(t, first, targets)
	t.Run("is the same from another folder", func(t *testing.T) {
		second := filepath.Join(t.TempDir(), "in", "another", "folder")
		command(t, first, "git", "worktree", "add", "--quiet", "--detach", second)
		t.Setenv("GOFLAGS", "-buildvcs=true")
		t.Setenv("GOWORK", filepath.Join(second, "go.work"))
		t.Setenv("TZ", "Asia/Tokyo")
		build(t, second, "linux/amd64,windows/amd64")
		want := checkSums(t, first)
		again := checkSums(t, second)
		if len(again) != 4 {
			t.Errorf("built %v", again)
		}
		for file, got := range again {
			if got != want[file] {
				t.Errorf("%s: %s the first time, %s the second", file, want[file], got)
			}
		}
	})

	sums := checkSums(t, first)
	revision := command(t, first, "git", "rev-parse", "HEAD")
	committed, err := time.Parse(time.RFC3339, command(t, first, "git", "show", "--no-patch", "--format=%cI", "HEAD"))
	if err != nil {
		t.Fatal(err)
	}
	for target := range strings.SplitSeq(targets, ",") {
		goos, goarch, _ := strings.Cut(target, "/")
		t.Run(goos+"-"+goarch, func(t *testing.T) {
			stem := "vidflow_" + version + "_" + goos + "_" + goarch
			binary, archive := "vidflow", stem+".tar.gz"
			if goos == "windows" {
				binary, archive = "vidflow.exe", stem+".zip"
			}
			materials := stem + ".cdx.json"
			for _, file := range []string{archive, materials} {
				if sums[file] == "" {
					t.Errorf("no checksum of %s", file)
				}
				delete(sums, file)
			}
			files := unpack(t, filepath.Join(first, "out", "release", archive), committed)
			want := []string{stem + "/CHANGELOG.md 0644", stem + "/README.md 0644", stem + "/" + binary + " 0755"}
			if _, err := os.Stat(filepath.Join(first, "LICENSE")); err == nil {
				want = append(want, stem+"/LICENSE 0644")
			}
			slices.Sort(want)
			if got := sortedKeys(files); !slices.Equal(got, want) {
				t.Errorf("the archive has %v, want %v", got, want)
			}
			program := files[stem+"/"+binary+" 0755"]
			checkPlatform(t, program, goos, goarch)
			if bytes.Contains(program, []byte(first)) {
				t.Errorf("the binary tells where it was built")
			}
			checkMaterials(t, first, filepath.Join(first, "out", "release", materials), goos, goarch, committed)
			if goos == runtime.GOOS && goarch == runtime.GOARCH {
				path := filepath.Join(t.TempDir(), binary)
				if err := os.WriteFile(path, program, 0o755); err != nil {
					t.Fatal(err)
				}
				want := fmt.Sprintf("vidflow %s\nrevision %s %s\n", tag, revision, committed.UTC().Format(time.RFC3339))
				if got := command(t, first, path, "version"); !strings.HasPrefix(got, want) {
					t.Errorf("it says %q, want %q", got, want)
				}
			}
		})
	}
	for file := range sums {
		t.Errorf("%s is in no release", file)
	}
}

func TestRelease_refuses_changes(t *testing.T) {
	dir := clone(t)
	if err := os.WriteFile(filepath.Join(dir, "internal", "new.go"), []byte("package internal\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := run(t.Context(), dir, []string{"--targets=linux/amd64"}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "internal/new.go") || !strings.Contains(err.Error(), "--dirty") {
		t.Errorf("got %v", err)
	}
	c, err := checkedOut(t.Context(), dir)
	if err != nil || c.version != tag+"-dirty" || !strings.HasSuffix(c.revision, "-dirty") {
		t.Errorf("version %q, revision %q, error %v", c.version, c.revision, err)
	}
}

func TestRelease_says_what_is_wrong_before_it_removes_anything(t *testing.T) {
	out := t.TempDir()
	sums := filepath.Join(out, checksums)
	if err := os.WriteFile(sums, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	err := run(t.Context(), clone(t), []string{"--targets=linux", "--out", out}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "linux/amd64") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(sums); err != nil {
		t.Error(err)
	}
}

func TestRelease_wants_its_section_in_the_changelog(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "CHANGELOG.md"), []byte("# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-12-01\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for version, ok := range map[string]bool{
		"v1.2.3": true, "v1.2.4": false, "v1.2.4-rc.1": true, "v1.2.3-4-g0123456789ab": true, "v1.2.4-dirty": true, "0123456789ab": true,
	} {
		if err := (commit{root: dir, version: version}).described(); (err == nil) != ok {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestRelease_leaves_a_foreign_folder_alone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := empty(dir); err == nil || !strings.Contains(err.Error(), "precious") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "precious")); err != nil {
		t.Error(err)
	}
}

// What is tested is built in the workspace, with the versions of all its modules; what ships must be made of the same.
func TestRelease_has_the_modules_that_are_tested(t *testing.T) {
	root := command(t, ".", "git", "rev-parse", "--show-toplevel")
	t.Setenv("GOWORK", "off")
	shipped := modules(t, root, runtime.GOOS, runtime.GOARCH)
	t.Setenv("GOWORK", filepath.Join(root, "go.work"))
	tested := modules(t, root, runtime.GOOS, runtime.GOARCH)
	if !slices.Equal(shipped, tested) {
		t.Errorf("go.mod and the workspace differ; GOWORK=off go get the newer ones\nshipped: %v\ntested:  %v", shipped, tested)
	}
}

// clone is the commit that is checked out here, in another folder and tagged.
func clone(t *testing.T) string {
	t.Helper()
	root := command(t, ".", "git", "rev-parse", "--show-toplevel")
	dir := filepath.Join(t.TempDir(), "clone")
	command(t, ".", "git", "clone", "--quiet", "--shared", root, dir)
	command(t, dir, "git", "checkout", "--quiet", command(t, root, "git", "rev-parse", "HEAD"))
	command(t, dir, "git", "tag", tag)
	return dir
}

func build(t *testing.T, dir, targets string) {
	t.Helper()
	var out strings.Builder
	if err := run(t.Context(), dir, []string{"--targets=" + targets}, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "vidflow "+tag+", in ") {
		t.Errorf("it says %q", out.String())
	}
}

// checkSums holds every file against its checksum, and returns the checksums.
func checkSums(t *testing.T, dir string) map[string]string {
	t.Helper()
	dir = filepath.Join(dir, "out", "release")
	text, err := os.ReadFile(filepath.Join(dir, checksums))
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		want, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		content, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		got := sha256.Sum256(content)
		if hex.EncodeToString(got[:]) != want {
			t.Errorf("%s: the checksum is wrong", file)
		}
		sums[file] = want
	}
	return sums
}

// unpack returns what is in an archive, by name and mode.
func unpack(t *testing.T, path string, at time.Time) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	add := func(info fs.FileInfo, name string, r io.Reader) {
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if !info.ModTime().Equal(at) {
			t.Errorf("%s is of %s, the commit of %s", name, info.ModTime(), at)
		}
		files[fmt.Sprintf("%s %04o", name, info.Mode().Perm())] = content
	}
	if strings.HasSuffix(path, ".zip") {
		archive, err := zip.OpenReader(path)
		if err != nil {
			t.Fatal(err)
		}
		defer archive.Close()
		for _, file := range archive.File {
			r, err := file.Open()
			if err != nil {
				t.Fatal(err)
			}
			add(file.FileInfo(), file.Name, r)
		}
		return files
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		add(header.FileInfo(), header.Name, archive)
	}
}

func checkPlatform(t *testing.T, program []byte, goos, goarch string) {
	t.Helper()
	var machine any
	var libraries []string
	switch goos {
	case "linux":
		file, err := elf.NewFile(bytes.NewReader(program))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range file.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				libraries = append(libraries, p.Type.String())
			}
		}
		machine = file.Machine
	case "darwin":
		file, err := macho.NewFile(bytes.NewReader(program))
		if err != nil {
			t.Fatal(err)
		}
		machine = file.Cpu
	case "windows":
		file, err := pe.NewFile(bytes.NewReader(program))
		if err != nil {
			t.Fatal(err)
		}
		machine = file.Machine
	}
	want := map[string]any{
		"linux/amd64": elf.EM_X86_64, "linux/arm64": elf.EM_AARCH64, "darwin/amd64": macho.CpuAmd64, "darwin/arm64": macho.CpuArm64,
		"windows/amd64": uint16(pe.IMAGE_FILE_MACHINE_AMD64),
	}[goos+"/"+goarch]
	if machine != want {
		t.Errorf("it is for machine %v, want %v", machine, want)
	}
	if libraries != nil {
		t.Errorf("it is not static: %v", libraries)
	}
}

// checkMaterials holds the bill of materials against what Go says that the packages come from.
func checkMaterials(t *testing.T, dir, path, goos, goarch string, at time.Time) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	bom := new(cdx.BOM)
	if err := cdx.NewBOMDecoder(file, cdx.BOMFileFormatJSON).Decode(bom); err != nil {
		t.Fatal(err)
	}
	if bom.Metadata.Component.Version != tag || bom.Metadata.Timestamp != at.UTC().Format(time.RFC3339) {
		t.Errorf("the bill is of %s, %s", bom.Metadata.Component.Version, bom.Metadata.Timestamp)
	}
	var got []string
	for _, c := range *bom.Components {
		if c.Name != "std" {
			got = append(got, c.Name+" "+c.Version)
		} else if want := strings.TrimPrefix(runtime.Version(), "go"); strings.TrimPrefix(c.Version, "go") != want {
			t.Errorf("the standard library is of %s, want %s", c.Version, want)
		}
	}
	slices.Sort(got)
	t.Setenv("GOWORK", "off")
	if want := modules(t, dir, goos, goarch); !slices.Equal(got, want) {
		t.Errorf("the bill has %v\nthe packages come from %v", got, want)
	}
	if want := len(got) + 1; len(*bom.Components) != want {
		t.Errorf("the bill has %d components, with the standard library once there are %d", len(*bom.Components), want)
	}
}

// modules are those that the packages of the binary come from.
func modules(t *testing.T, dir, goos, goarch string) []string {
	t.Helper()
	t.Setenv("GOOS", goos)
	t.Setenv("GOARCH", goarch)
	t.Setenv("CGO_ENABLED", "0")
	t.Setenv("GOFLAGS", "")
	list := strings.Fields(command(t, dir, "go", "list", "-deps", "-f",
		"{{with .Module}}{{if not .Main}}{{.Path}}@{{.Version}}{{end}}{{end}}", "./cmd/vidflow"))
	for i, m := range list {
		list[i] = strings.Replace(m, "@", " ", 1)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func command(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func sortedKeys(files map[string][]byte) []string {
	keys := make([]string, 0, len(files))
	for key := range files {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

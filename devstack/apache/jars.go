package apache

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/codeendelea/vidflow/devstack/process"
)

// Version is that of Apache Kafka, as pom.xml has it.
const Version = "4.3.1"

// CacheVariable names a folder that is kept between runs; by default that of the user's caches.
const CacheVariable = "VIDFLOW_CACHE"

// oldestJava runs the broker.
const oldestJava = 17

//go:embed pom.xml
var pom []byte

// copyDependencies is pinned so that the same command does the same thing next year.
const copyDependencies = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

// jars returns the folder that holds Apache Kafka, fetching it where it is not there yet. Processes that want it at the
// same time wait for the first.
func jars(ctx context.Context, note func(string)) (string, error) {
	cache := os.Getenv(CacheVariable)
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find a folder for Apache Kafka (%s names one): %w", CacheVariable, err)
		}
		cache = filepath.Join(user, "vidflow")
	}
	sum := sha256.Sum256(pom)
	dir := filepath.Join(cache, "apache-kafka-"+Version+"-"+hex.EncodeToString(sum[:4]))
	if present(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if present(dir) {
		return dir, nil
	}
	if err := fetch(ctx, dir, note); err != nil {
		return "", fmt.Errorf("fetch Apache Kafka %s: %w", Version, err)
	}
	return dir, nil
}

func present(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "kafka_2.13-"+Version+".jar"))
	return err == nil
}

// lock waits for others that fetch; it ends with the process, however that ends.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() { _ = file.Close() }, nil
}

// fetch puts the jars under another name first, so that a folder that was interrupted is never taken for whole.
func fetch(ctx context.Context, dir string, note func(string)) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return missing("mvn", "maven", err)
	}
	note("fetching Apache Kafka " + Version + " from Maven Central (55 MB, once)")
	scratch, err := os.MkdirTemp("", "vidflow-apache-kafka-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	file := filepath.Join(scratch, "pom.xml")
	if err := os.WriteFile(file, pom, 0o600); err != nil {
		return err
	}
	unfinished := dir + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close() }()
	cmd := exec.Command(mvn, "--batch-mode", "--strict-checksums", "--file", file, copyDependencies,
		"-DoutputDirectory="+unfinished)
	cmd.Dir, cmd.Stdout, cmd.Stderr = scratch, writer, writer
	child, err := process.Start(cmd, process.Options{})
	if closeErr := writer.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	stopped := context.AfterFunc(ctx, func() { _ = child.Signal(syscall.SIGKILL) })
	defer stopped()
	said := follow(bufio.NewScanner(reader), note)
	if err := child.Wait(); err != nil {
		return fmt.Errorf("mvn: %w\n%s", err, said)
	}
	return os.Rename(unfinished, dir)
}

// follow tells how far Maven is and returns the last lines of what it said.
func follow(lines *bufio.Scanner, note func(string)) string {
	const most, noteEvery = 30, 50
	var last []string
	files := 0
	for lines.Scan() {
		line := lines.Text()
		if strings.Contains(line, "Downloaded from") {
			if files++; files%noteEvery == 0 {
				note(fmt.Sprintf("fetched %d files for Apache Kafka", files))
			}
			continue
		}
		if strings.Contains(line, "Downloading from") {
			continue
		}
		last = append(last, line)
		last = last[max(0, len(last)-most):]
	}
	return strings.Join(last, "\n")
}

// java is the path of a Java that runs the broker.
func java(ctx context.Context) (string, error) {
	path, err := exec.LookPath("java")
	if err != nil {
		return "", missing("java", "default-jre-headless", err)
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, path, "-version")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("java -version: %w\n%s", err, said.String())
	}
	version := javaVersion(said.String())
	if version < oldestJava {
		return "", fmt.Errorf("it needs Java %d or later, and %s is Java %d", oldestJava, path, version)
	}
	return path, nil
}

var javaVersionPattern = regexp.MustCompile(`version "(?:1\.)?(\d+)`)

// javaVersion is the major version in what `java -version` says; 0 when there is none.
func javaVersion(said string) int {
	match := javaVersionPattern.FindStringSubmatch(said)
	if match == nil {
		return 0
	}
	version, _ := strconv.Atoi(match[1])
	return version
}

func missing(program, pkg string, err error) error {
	return fmt.Errorf("it needs %s, which is not installed (Debian: apt-get install %s): %w", program, pkg, err)
}

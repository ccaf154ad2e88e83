package apache

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestJavaVersion(t *testing.T) {
	t.Parallel()
	tests := map[string]int{
		"openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime Environment": 17,
		`java version "1.8.0_401"`:        8,
		`openjdk version "21" 2023-09-19`: 21,
		"command not found":               0,
	}
	for said, want := range tests {
		if got := javaVersion(said); got != want {
			t.Errorf("%q: version %d, want %d", said, got, want)
		}
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	said := strings.Repeat("Downloading from central: a\nDownloaded from central: a\n", 120) + "[ERROR] no network\n"
	var notes []string
	last := follow(bufio.NewScanner(strings.NewReader(said)), func(note string) { notes = append(notes, note) })
	if last != "[ERROR] no network" {
		t.Errorf("last words %q, want the error alone", last)
	}
	if len(notes) != 2 {
		t.Errorf("notes %q, want one for every fifty files", notes)
	}
}

// TestCertify: the broker's certificate is trusted by its own authority, for this machine, and by no other.
func TestCertify(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tls")
	if err := certify(dir); err != nil {
		t.Fatal(err)
	}
	broker := filepath.Join(dir, brokerFile)
	pair, err := tls.LoadX509KeyPair(broker, broker)
	if err != nil {
		t.Fatal(err)
	}
	for file, trusted := range map[string]bool{caFile: true, strangeFile: false} {
		authority, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(authority)
		for _, name := range []string{"127.0.0.1", "localhost"} {
			_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name})
			if trusted != (err == nil) {
				t.Errorf("%s, %s: %v, want trusted %t", file, name, err, trusted)
			}
		}
	}

	before, err := os.ReadFile(broker)
	if err != nil {
		t.Fatal(err)
	}
	if err := certify(dir); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(broker); err != nil || string(after) != string(before) {
		t.Errorf("the certificate was made anew (%v), and clients that know it would refuse it", err)
	}
}

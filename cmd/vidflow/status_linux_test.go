package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal of 30 lines: what is written to the file can be read from the other side.
func terminal(t *testing.T) (file *os.File, seen func() string) {
	t.Helper()
	other, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	fd := int(other.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 100}); err != nil {
		t.Fatal(err)
	}
	file, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all bytes.Buffer
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, 64<<10)
		for {
			n, err := other.Read(buffer)
			mu.Lock()
			all.Write(buffer[:n])
			mu.Unlock()
			if err != nil {
				return // the file is closed
			}
		}
	}()
	t.Cleanup(func() {
		_ = file.Close()
		<-ended
		_ = other.Close()
	})
	return file, func() string {
		mu.Lock()
		defer mu.Unlock()
		return all.String()
	}
}

func TestStatus_on_a_terminal(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		noColor string
		colours bool
	}{"in colours": {"", true}, "without colours": {"1", false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, seen := terminal(t)
			ctx, cancel := context.WithCancel(t.Context())
			code := make(chan int, 1)
			go func() {
				code <- run(ctx, []string{"status", "--watch=200ms"}, environment(map[string]string{"LOG_LEVEL": "", "NO_COLOR": row.noColor}),
					strings.NewReader(""), file, io.Discard)
			}()
			await(t, func() bool { return strings.Count(seen(), goHome) >= 2 })
			cancel()
			if got := <-code; got != exitOK {
				t.Errorf("interrupted it ends with %d, want %d", got, exitOK)
			}
			await(t, func() bool { return strings.HasSuffix(seen(), leaveScreen) })
			got := seen()
			if !strings.HasPrefix(got, enterScreen) || strings.Contains(got, "\x1b[1;31m") != row.colours {
				t.Errorf("got %q", got)
			}
			first, _, _ := strings.Cut(strings.TrimPrefix(got, enterScreen+goHome), goHome)
			if n := strings.Count(first, "\n"); n > 29 || !strings.Contains(first, "lines more") || !strings.Contains(first, "Postgres cannot be used") {
				t.Errorf("it writes %d lines to a terminal of 30:\n%s", n, first)
			}
		})
	}
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatal("waited in vain")
		case <-ticker.C:
		}
	}
}

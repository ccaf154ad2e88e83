package ports

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	block, anchor, err := Free()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = anchor.Close() })

	t.Run("names_the_port_what_wanted_it_and_the_variable", func(t *testing.T) {
		err := block.Check()
		if err == nil {
			t.Fatal("a block with a taken port passes")
		}
		for _, want := range []string{
			fmt.Sprintf("port %d", block.Port(Control)), "wanted by the control of the stack", "is taken", Variable + "=",
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
		if got := strings.Count(err.Error(), "wanted by"); got != 1 {
			t.Errorf("%d ports are named, want the one that is taken: %v", got, err)
		}
	})
	t.Run("names_every_port", func(t *testing.T) {
		l, err := net.Listen("tcp", block.Addr(Kafka))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		if err := block.Check(); err == nil || strings.Count(err.Error(), "wanted by") != 2 {
			t.Errorf("got %v, want both ports named", err)
		}
	})
	t.Run("leaves_out_what_is_served_elsewhere", func(t *testing.T) {
		if err := block.Check(Control); err != nil {
			t.Error(err)
		}
	})
}

func TestFree_keeps_others_away(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 20 {
		block, anchor, err := Free()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = anchor.Close() })
		if seen[block.Base] {
			t.Fatalf("block %d was handed out twice", block.Base)
		}
		seen[block.Base] = true
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for base, ok := range map[int]bool{0: false, -1: false, 1: true, 8000: true, 65535 - int(count) + 1: true, 65535 - int(count) + 2: false, 70000: false} {
		if err := (Block{Base: base}).Validate(); (err == nil) != ok {
			t.Errorf("base %d: %v, want it fit: %t", base, err, ok)
		}
	}
}

// TestEachServiceHasAName keeps a new service from being told to nobody.
func TestEachServiceHasAName(t *testing.T) {
	t.Parallel()
	for s := range count {
		if s.String() == "" {
			t.Errorf("service %d has no name", s)
		}
	}
}

func TestUnused(t *testing.T) {
	t.Parallel()
	const n = 5
	first, err := Unused(n)
	if err != nil {
		t.Fatal(err)
	}
	for port := first; port < first+n; port++ {
		if err := probe(fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
			t.Errorf("port %d: %v", port, err)
		}
	}
}

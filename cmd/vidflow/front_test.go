package main

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"

	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/internal/temporaltest"
	"github.com/codeendelea/vidflow/workflows"
)

// pair is where a client's certificate and its key are.
type pair struct{ cert, key string }

func newPair(t *testing.T) pair {
	dir := t.TempDir()
	return pair{filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")}
}

// behind is the environment of a process that reaches Temporal by the front alone, without a login yet.
func behind(t *testing.T, f *temporaltest.Front, ns temporaltest.Namespace, database string) map[string]string {
	return servers(t, map[string]string{
		"DATABASE_URL": database, "TEMPORAL_ADDRESS": f.Address, "TEMPORAL_NAMESPACE": ns.Name,
		"TEMPORAL_TLS_SERVER_CA_CERT_PATH": f.CAFile,
	})
}

func (p pair) in(env map[string]string) {
	env["TEMPORAL_TLS_CLIENT_CERT_PATH"], env["TEMPORAL_TLS_CLIENT_KEY_PATH"] = p.cert, p.key
}

// TestFront_refuses_by_name what is wrong with the way to Temporal Cloud, and says what to do.
func TestFront_refuses_by_name(t *testing.T) {
	t.Parallel()
	inAnHour := time.Now().Add(time.Hour)
	for name, row := range map[string]struct {
		certificates bool
		change       func(t *testing.T, f *temporaltest.Front, env map[string]string)
		want         []string
	}{
		"a wrong key": {
			change: func(_ *testing.T, _ *temporaltest.Front, env map[string]string) {
				env["TEMPORAL_API_KEY"] = "another-key"
			},
			want: []string{"is refused", "TEMPORAL_API_KEY"},
		},
		"no key": {
			change: func(_ *testing.T, _ *temporaltest.Front, env map[string]string) { env["TEMPORAL_API_KEY"] = "" },
			want:   []string{"is refused", "TEMPORAL_API_KEY"},
		},
		"a namespace that the key is not for": {
			change: func(_ *testing.T, _ *temporaltest.Front, env map[string]string) {
				env["TEMPORAL_NAMESPACE"] = "another.a1b2c"
			},
			want: []string{"another.a1b2c", "is refused", "TEMPORAL_NAMESPACE"},
		},
		"no TLS": {
			change: func(_ *testing.T, _ *temporaltest.Front, env map[string]string) {
				env["TEMPORAL_API_KEY"], env["TEMPORAL_TLS_SERVER_CA_CERT_PATH"] = "", ""
			},
			want: []string{"speaks TLS", "TEMPORAL_API_KEY", "TEMPORAL_TLS=true"},
		},
		"an authority that is not trusted": {
			change: func(_ *testing.T, _ *temporaltest.Front, env map[string]string) {
				env["TEMPORAL_TLS_SERVER_CA_CERT_PATH"] = ""
			},
			want: []string{"is not trusted", "TEMPORAL_TLS_SERVER_CA_CERT_PATH"},
		},
		"another name": {
			change: func(_ *testing.T, _ *temporaltest.Front, env map[string]string) {
				env["TEMPORAL_TLS_SERVER_NAME"] = "videos.a1b2c.tmprl.cloud"
			},
			want: []string{"is for another name", "TEMPORAL_TLS_SERVER_NAME"},
		},
		"no certificate": {
			certificates: true,
			change:       func(*testing.T, *temporaltest.Front, map[string]string) {},
			want:         []string{"wants a client's certificate", "TEMPORAL_TLS_CLIENT_CERT_PATH"},
		},
		"a certificate that has expired": {
			certificates: true,
			change: func(t *testing.T, f *temporaltest.Front, env map[string]string) {
				p := newPair(t)
				f.Authority().Write(t, "vidflow", time.Now().Add(-time.Hour), p.cert, p.key)
				p.in(env)
			},
			want: []string{"expired on", "TEMPORAL_TLS_CLIENT_CERT_PATH"},
		},
		"a certificate of another authority": {
			certificates: true,
			change: func(t *testing.T, _ *temporaltest.Front, env map[string]string) {
				p := newPair(t)
				temporaltest.NewAuthority(t, "somebody").Write(t, "vidflow", inAnHour, p.cert, p.key)
				p.in(env)
			},
			want: []string{"accepts the authority", "TEMPORAL_TLS_CLIENT_CERT_PATH"},
		},
		"a namespace that the certificate is not for": {
			certificates: true,
			change: func(t *testing.T, f *temporaltest.Front, env map[string]string) {
				p := newPair(t)
				f.Authority().Write(t, "vidflow", inAnHour, p.cert, p.key)
				p.in(env)
				env["TEMPORAL_NAMESPACE"] = "another.a1b2c"
			},
			want: []string{"another.a1b2c", "is refused", "TEMPORAL_NAMESPACE"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := postgrestest.New(t)
			ns := temporaltest.New(t)
			f := temporaltest.NewFront(t, ns.Name, temporaltest.Login{Key: login(row.certificates), Certificates: row.certificates})
			env := behind(t, f, ns, db.URL)
			env["TEMPORAL_API_KEY"] = login(row.certificates)
			row.change(t, f, env)
			for _, args := range [][]string{{"worker"}, {"adopt", "--dry-run"}} {
				got := invoke(t, env, args...)
				if got.code != exitFailed {
					t.Errorf("%s: exit code: got %d, want %d", args[0], got.code, exitFailed)
				}
				for _, want := range row.want {
					if !strings.Contains(got.stderr, want) {
						t.Errorf("%s: got no %q in:\n%s", args[0], want, got.stderr)
					}
				}
				got.shows(t, apiKey)
				got.shows(t, "another-key")
			}
		})
	}
}

const apiKey = "the-key-of-the-namespace"

func login(certificates bool) string {
	if certificates {
		return ""
	}
	return apiKey
}

// TestFront_renewed_certificate is taken up by a process that runs: the files are replaced, and the old authority is no
// longer accepted.
func TestFront_renewed_certificate(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	ns := temporaltest.New(t)
	f := temporaltest.NewFront(t, ns.Name, temporaltest.Login{Certificates: true})
	p := newPair(t)
	f.Authority().Write(t, "before", time.Now().Add(time.Hour), p.cert, p.key)
	env := behind(t, f, ns, db.URL)
	p.in(env)
	r := start(t, env, "worker")
	r.until(`"msg":"worker started"`)

	renewed := temporaltest.NewAuthority(t, "the next authority")
	renewed.Write(t, "after", time.Now().Add(time.Hour), p.cert, p.key)
	f.Trust(renewed)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); f.Passed("after") == 0; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("nothing comes with the new certificate\n%s", r.log)
		}
	}
	r.untilStatus(process.StatusReady)
	r.stop()
	if code := r.code(); code != exitOK {
		t.Errorf("exit code: got %d, want %d\n%s", code, exitOK, r.log)
	}
}

// TestFront_key_that_was_deleted too early, before the processes have the next one, ends none: they are not ready, say why, and
// go on when it is taken again.
func TestFront_key_that_was_deleted(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	ns := temporaltest.New(t)
	f := temporaltest.NewFront(t, ns.Name, temporaltest.Login{Key: apiKey})
	env := behind(t, f, ns, db.URL)
	env["TEMPORAL_API_KEY"] = apiKey
	r := start(t, env, "worker", "kafkabridge")
	r.until(`"msg":"worker started"`)
	r.untilStatus(process.StatusReady)
	f.Rekey("the-next-key")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		status, readiness := r.probe("/readyz")
		i := slices.IndexFunc(readiness.Checks, func(c process.CheckResult) bool { return strings.Contains(c.Error, "TEMPORAL_API_KEY") })
		if status == http.StatusServiceUnavailable && i >= 0 {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("/readyz: got %d %+v, want that the key is named", status, readiness)
		}
	}
	f.Rekey(apiKey)
	r.untilStatus(process.StatusReady)
	r.stop()
	if code := r.code(); code != exitOK {
		t.Errorf("exit code: got %d, want %d\n%s", code, exitOK, r.log)
	}
}

// TestFront_attributes_that_were_made_by_hand are found by a worker, though it may not ask for them, and migrate is content.
func TestFront_attributes_that_were_made_by_hand(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	ns := temporaltest.NewBare(t)
	f := temporaltest.NewFront(t, ns.Name, temporaltest.Login{Key: apiKey})
	env := behind(t, f, ns, db.AdminURL)
	env["TEMPORAL_API_KEY"] = apiKey
	make := func(keys ...string) {
		t.Helper()
		types := map[string]enumspb.IndexedValueType{}
		for _, key := range workflows.SearchAttributes() {
			if len(keys) == 0 || key.GetName() == keys[0] {
				types[key.GetName()] = key.GetValueType()
			}
		}
		_, err := ns.Client.OperatorService().AddSearchAttributes(t.Context(),
			&operatorservice.AddSearchAttributesRequest{Namespace: ns.Name, SearchAttributes: types})
		if err != nil && len(keys) > 0 {
			t.Fatal(err)
		}
	}
	migrate := func() outcome {
		t.Helper()
		got := invoke(t, env, "migrate")
		if got.code != exitOK {
			t.Fatalf("exit code %d\n%s", got.code, got.stderr)
		}
		return got
	}
	if got := migrate(); strings.Count(got.stdout, " --sa ") != len(workflows.SearchAttributes()) {
		t.Errorf("with none: want a command for each in\n%s", got.stdout)
	}
	make("Trouble")
	if got := migrate(); strings.Count(got.stdout, " --sa ") != len(workflows.SearchAttributes())-1 || strings.Contains(got.stdout, "Trouble") {
		t.Errorf("with one: want a command for the others in\n%s", got.stdout)
	}
	make()
	if got := migrate(); got.stdout != "" || !strings.Contains(got.stderr, "Temporal search attributes are up to date") {
		t.Errorf("with all: got\n%s%s", got.stdout, got.stderr)
	}
	env["DATABASE_URL"] = db.URL
	r := start(t, env, "worker")
	r.until(`"msg":"worker started"`)
	if strings.Contains(r.log.String(), "search attributes are missing") {
		t.Errorf("the worker does not find them:\n%s", r.log)
	}
	r.stop()
	r.code()
}

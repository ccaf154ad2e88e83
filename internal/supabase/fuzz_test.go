package supabase

import (
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzRefused: whatever stands between here and storage may answer. The error has one class, a message for a log, and
// not the key.
func FuzzRefused(f *testing.F) {
	const secret = "sb_secret_of_this_test"
	c, err := New(Config{URL: "http://127.0.0.1:1", ServiceKey: secret})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(400, []byte(`{"statusCode":"409","error":"Duplicate","message":"The resource already exists","code":"KeyAlreadyExists"}`))
	f.Add(502, []byte("<html><title>Bad\nGateway</title>"))
	f.Add(544, []byte(`{"statusCode":544}`))
	f.Add(413, []byte(secret))
	f.Add(302, []byte(nil))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 300 || status > 599 {
			t.Skip("a success, or no answer of HTTP")
		}
		e := c.refused(&http.Response{StatusCode: status}, &refusal{data: body})
		classes := 0
		for _, is := range []bool{e.Temporary(), e.Configuration(), e.Final()} {
			if is {
				classes++
			}
		}
		if classes != 1 {
			t.Errorf("%d classes: %+v", classes, e)
		}
		if said := e.Error(); strings.Contains(said, secret) || len(said) > 1500 || !utf8.ValidString(said) {
			t.Errorf("message %q", said)
		}
		if e.Status < 300 || e.Status > 599 {
			t.Errorf("status %d", e.Status)
		}
	})
}

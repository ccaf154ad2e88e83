package main

import "testing"

func TestBuild_ID(t *testing.T) {
	t.Parallel()
	const revision = "0123456789abcdef0123456789abcdef01234567"
	for name, c := range map[string]struct {
		build build
		want  string
	}{
		"a revision":         {build{Version: "v0.0.0-20261125160000-0123456789ab", Revision: revision}, "0123456789ab"},
		"a changed one":      {build{Version: "v0.0.0-20261125160000-0123456789ab+dirty", Revision: revision + "-dirty"}, "0123456789a+"},
		"without revision":   {build{Version: "v1.2.3"}, "v1.2.3"},
		"nothing but a word": {build{Version: "(devel)"}, "(devel)"},
	} {
		if got := c.build.ID(); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

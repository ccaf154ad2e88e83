package docs

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewChecker(root, os.Getenv("VIDFLOW_TEST_BINARY"), os.Getenv("VIDFLOW_TEST_TEMPORAL_CLI"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ page, want string }{
		"what_exists": {page: "'''sh cluster\nKAFKA_SSL=false timeout 5 vidflow kafka tail --from \"$when\" …; make test-one PKG=./starter\n" +
			"kubectl exec deploy/vidflow -- vidflow status --json | jq .\nfor v in $(vidflow version); do NAME=$v; done\n'''\n" +
			"`docs/testing.md`, `make dev`, `vidflow worker starter`, `KAFKA_BROKERS` [a](testing.md#on-servers-of-their-own) [b](https://example.test/none)"},
		"syntax":              {page: "'''sh cluster\n\necho 'a\n'''\n", want: "docs/page.md:3: reached EOF without closing quote"},
		"command":             {page: "'''sh cluster\nvidflow\nx=$(vidflow kafka chek)\n'''\n", want: `docs/page.md:3: vidflow does not take "kafka chek"`},
		"flag":                {page: "'''sh cluster\ngo run ./cmd/vidflow status --jsn\n'''\n", want: `docs/page.md:2: vidflow does not take "status --jsn"`},
		"flag_behind_a_pod":   {page: "'''sh cluster\nkubectl exec pod -- vidflow status --jsn\n'''\n", want: `vidflow does not take "status --jsn"`},
		"value":               {page: "'''sh cluster\nvidflow adopt --rate fast\n'''\n", want: `vidflow does not take "adopt --rate fast"`},
		"temporal":            {page: "'''sh cluster\ntemporal workflow list --query 'WorkflowType = \"Video\"' --limit $n\n'''\n`temporal operator cluster health`"},
		"temporal_command":    {page: "'''sh cluster\ntemporal worker deployment set-version --name x\n'''\n", want: `docs/page.md:2: temporal does not take "worker deployment set-version --name x"`},
		"temporal_no_command": {page: "`temporal worker deployment`\n", want: `docs/page.md:1: temporal does not take "worker deployment"`},
		"temporal_flag":       {page: "`temporal workflow show --workflow video/1`\n", want: `docs/page.md:1: temporal does not take "workflow show --workflow video/1"`},
		"variable_of_vidflow": {page: "'''sh cluster\nTEMPORAL=1 vidflow worker\n'''\n", want: "docs/page.md:2: vidflow reads no variable TEMPORAL"},
		"variable":            {page: "'''sh cluster\nexport KAFKA_BROKER=x\n'''\n", want: "docs/page.md:2: vidflow has no variable KAFKA_BROKER"},
		"variable_in_a_text":  {page: "Set `KAFKA_BROKER`.\n", want: "docs/page.md:1: vidflow has no variable KAFKA_BROKER"},
		"make":                {page: "'''sh cluster\nmake tests\n'''\n", want: "docs/page.md:2: there is no make tests"},
		"make_variable":       {page: "'''sh cluster\nmake test-one PACKAGE=x\n'''\n", want: "docs/page.md:2: the Makefile has no variable PACKAGE"},
		"file":                {page: "See `devstack/nothing`.\n", want: "docs/page.md:1: there is no devstack/nothing"},
		"link":                {page: "[a](none.md)\n", want: "docs/page.md:1: a link leads to docs/none.md, which is not there"},
		"anchor":              {page: "# A b\n\n[a](#a-b) [b](#a-c)\n", want: "docs/page.md:3: a link leads to #a-c"},
		"anchor_elsewhere":    {page: "[a](testing.md#none)\n", want: "a link leads to #none, a heading that docs/testing.md does not have"},
		"mark":                {page: "'''sh later\ntrue\n'''\n", want: "docs/page.md:2: ```sh later is no mark"},
		"language":            {page: "'''bash\ntrue\n'''\n", want: "docs/page.md:2: commands are in blocks that begin with ```sh, not ```bash"},
		"output_of_nothing":   {page: "'''output\n1\n'''\n", want: "docs/page.md:2: an output without commands before it that are run"},
		"output_of_a_cluster": {page: "'''sh cluster\ntrue\n'''\n'''output\n1\n'''\n", want: "docs/page.md:5: an output without commands"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := c.Check(pageOf(test.page))
			switch {
			case test.want == "" && len(got) > 0, test.want != "" && len(got) != 1:
				t.Errorf("got %q, want %q", got, test.want)
			case test.want != "" && !strings.Contains(got[0], test.want):
				t.Errorf("got %q, want %q", got[0], test.want)
			}
		})
	}
}

func TestAnchor(t *testing.T) {
	t.Parallel()
	p := pageOf("# What it does, and `why`\n## Settings\n## Settings\n## The old_one: 2-3 *times*\n")
	if diff := cmp.Diff([]string{"what-it-does-and-why", "settings", "settings-1", "the-old_one-2-3-times"}, p.anchors); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

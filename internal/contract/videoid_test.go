package contract_test

import (
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
)

func TestParseVideoID(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   string
		want contract.VideoID // empty: refused
	}{
		"lower case":       {video, video},
		"capitals":         {strings.ToUpper(video), video},
		"mixed":            {"3F0c1a52-7d6e-4B7a-9a55-0d2f3c9b8e11", video},
		"any version":      {"00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000"},
		"empty":            {"", ""},
		"no hyphens":       {strings.ReplaceAll(video, "-", ""), ""},
		"braces":           {"{" + video + "}", ""},
		"urn":              {"urn:uuid:" + video, ""},
		"white space":      {" " + video, ""},
		"a newline":        {video + "\n", ""},
		"no digit":         {"3f0c1a52-7d6e-4b7a-9a55-0d2f3c9b8e1g", ""},
		"hyphens misplace": {"3f0c1a527-d6e-4b7a-9a55-0d2f3c9b8e11", ""},
		"a path":           {"../../../../../../../../../etc/passwd", ""},
		"a number":         {"42", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := contract.ParseVideoID(tt.in)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("ParseVideoID(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestVideoID_TranscriptPath(t *testing.T) {
	t.Parallel()
	if got, want := contract.VideoID(video).TranscriptPath(), "videos/"+video+".json"; got != want {
		t.Errorf("TranscriptPath() = %q, want %q", got, want)
	}
}

func TestClip(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"abc", 3, "abc"},
		{"abcd", 3, "abc…"},
		{"éé", 3, "é…"},
		{"", 0, ""},
	} {
		if got := contract.Clip(tt.in, tt.limit); got != tt.want {
			t.Errorf("Clip(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

func FuzzParseVideoID(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		id, err := contract.ParseVideoID(s)
		if err != nil {
			if !utf8.ValidString(err.Error()) || len(err.Error()) > 400 {
				t.Fatalf("error is not fit for a log: %q", err)
			}
			return
		}
		if want := uuid.MustParse(s).String(); string(id) != want {
			t.Fatalf("ParseVideoID(%q) = %q, want %q", s, id, want)
		}
		if again, err := contract.ParseVideoID(string(id)); err != nil || again != id {
			t.Fatalf("ParseVideoID(%q) = %q, %v", id, again, err)
		}
		if p := id.TranscriptPath(); path.Clean(p) != p || path.Dir(p) != "videos" {
			t.Fatalf("path %q", p)
		}
	})
}

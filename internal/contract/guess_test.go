package contract_test

import (
	"strings"
	"testing"

	"github.com/codeendelea/vidflow/internal/contract"
)

func TestGuessVideoID(t *testing.T) {
	t.Parallel()
	const id, other = "0b0e4a3e-35cf-4cd3-9a0c-0c1f3f3d9a01", "0b0e4a3e-35cf-4cd3-9a0c-0c1f3f3d9a02"
	for name, row := range map[string]struct {
		key, value string
		want       contract.VideoID
	}{
		"the key":                          {id, "", id},
		"the key in capitals":              {strings.ToUpper(id), "", id},
		"the key rather than the value":    {id, `{"video_id":"` + other + `"}`, id},
		"the value":                        {"", `{"video_id": "` + id + `"}`, id},
		"the value's other name":           {"lecture-7", `{"videoId":"` + strings.ToUpper(id) + `"}`, id},
		"a value that was cut short":       {"", `{"transcription":{"words":[]},"video_id":"` + id + `","du`, id},
		"the first that is an id":          {"", `{"video_id":"` + strings.Repeat("-", 36) + `","videoId":"` + id + `"}`, id},
		"neither":                          {"lecture-7", `{"video_id":"lecture-7"}`, ""},
		"nothing":                          {"", "", ""},
		"an id that is none of the names'": {"", `{"course":"` + id + `"}`, ""},
		"an id too far in":                 {"", strings.Repeat(" ", 64<<10) + `{"video_id":"` + id + `"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := contract.GuessVideoID([]byte(row.key), []byte(row.value)); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

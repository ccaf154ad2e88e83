package contract_test

import (
	"strings"
	"testing"

	"github.com/codeendelea/vidflow/internal/contract"
)

func FuzzGuessVideoID(f *testing.F) {
	const id = "0b5a2f1e-9c1d-4a53-8f0e-1d2c3b4a5968"
	f.Add([]byte(id), []byte(nil))
	f.Add([]byte(nil), []byte(`{"videoId": "`+strings.ToUpper(id)+`", `))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		got := contract.GuessVideoID(key, value)
		if got == "" {
			return
		}
		if again, err := contract.ParseVideoID(got.String()); err != nil || again != got {
			t.Errorf("guessed %q, which is no id: %v", got, err)
		}
		if message := strings.ToLower(string(key) + string(value)); !strings.Contains(message, got.String()) {
			t.Errorf("guessed %q, which the record does not name", got)
		}
	})
}

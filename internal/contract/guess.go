package contract

import "regexp"

// guessBytes is how much of a value GuessVideoID looks at.
const guessBytes = 64 << 10

var idSeeming = regexp.MustCompile(`"video(?:_id|Id)"\s*:\s*"([0-9a-fA-F-]{36})"`)

// GuessVideoID says which video a record is about that cannot be understood: the one that its key names, else the first
// that its value seems to. It is empty when neither does. Good enough to tell people where to look, and for nothing else.
func GuessVideoID(key, value []byte) VideoID {
	if id, err := ParseVideoID(string(key)); err == nil {
		return id
	}
	for _, found := range idSeeming.FindAllSubmatch(value[:min(len(value), guessBytes)], 8) {
		if id, err := ParseVideoID(string(found[1])); err == nil {
			return id
		}
	}
	return ""
}

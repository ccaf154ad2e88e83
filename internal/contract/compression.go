package contract

import (
	"bytes"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CompressionResult is an accepted message of the topic of compression results.
type CompressionResult struct {
	VideoID VideoID
	// URL of the compressed video as the service wrote it, without white space around it; at most MaxURLBytes.
	URL string
	// ValueID is the id in the value, clipped, when it is not the key's, which counts. Empty when they agree.
	ValueID string
}

// DecodeCompression understands a compression result: a URL as text, or as a JSON string, or a JSON object with
// "cloudUrl" and "videoId". The key says which video it is about; only when there is no key at all does "videoId" say so.
// Every error is a *PoisonError.
func DecodeCompression(key, value []byte) (CompressionResult, error) {
	text := bytes.TrimSpace(value)
	if len(text) == 0 {
		return CompressionResult{}, poison(ClassNoValue, "the record has no value")
	}
	message, err := compressionMessage(text)
	if err != nil {
		return CompressionResult{}, asPoison(err)
	}
	result := CompressionResult{URL: strings.TrimSpace(message.url)}
	source, claimed := "key", string(key)
	if len(key) == 0 {
		if !message.hasID {
			return CompressionResult{}, poison(ClassNoKey, "neither a key nor a videoId says which video it is about")
		}
		source, claimed = "videoId", message.id
	}
	if result.VideoID, err = ParseVideoID(claimed); err != nil {
		return CompressionResult{}, poison(ClassVideoID, "%s: %v", source, err)
	}
	if message.hasID && !strings.EqualFold(message.id, string(result.VideoID)) {
		result.ValueID = Clip(message.id, 64)
	}
	if err := checkURL(result.URL); err != nil {
		return CompressionResult{}, err
	}
	return result, nil
}

// compressionText is what the message says, unchecked.
type compressionText struct {
	url, id string
	hasID   bool
}

func compressionMessage(text []byte) (compressionText, error) {
	switch text[0] {
	case '{':
		scan := newScanner(text)
		defer scan.release()
		return compressionObject(scan)
	case '"':
		scan := newScanner(text)
		defer scan.release()
		plain, err := scan.string("the message")
		if err != nil {
			return compressionText{}, err
		}
		return compressionText{url: string(plain)}, scan.end()
	}
	return compressionText{url: string(text)}, nil
}

func compressionObject(scan *scanner) (m compressionText, err error) {
	hasURL := false
	err = scan.object("the message", func(name []byte, _ int) error {
		switch string(name) {
		case "cloudUrl":
			plain, err := scan.string("cloudUrl")
			m.url, hasURL = string(plain), true
			return err
		case "videoId":
			if scan.PeekKind() != '"' { // of no use, and of no harm beside a key
				return scan.skip()
			}
			plain, err := scan.string("videoId")
			m.id, m.hasID = string(plain), true
			return err
		}
		return scan.skip()
	})
	switch {
	case err != nil:
		return m, err
	case !hasURL:
		return m, poison(ClassSchema, "the message has no cloudUrl")
	}
	return m, scan.end()
}

// checkURL accepts absolute http and https URLs that a text column of the database can hold.
func checkURL(s string) error {
	if len(s) > MaxURLBytes {
		return poison(ClassBounds, "the URL has %d bytes, more than %d", len(s), MaxURLBytes)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Hostname() == "":
	case u.Scheme != "http" && u.Scheme != "https":
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsSpace) || strings.ContainsFunc(s, unicode.IsControl):
	default:
		return nil
	}
	return poison(ClassURL, "not an http or https URL: %q", Clip(s, 100))
}

package contract_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/internal/contract"
)

const cloudURL = "https://cdn.example.org/videos/v1.mp4?sig=a%20b&x=1"

func TestDecodeCompression_accepts(t *testing.T) {
	t.Parallel()
	long := "https://example.org/" + strings.Repeat("a", contract.MaxURLBytes-len("https://example.org/"))
	tests := map[string]struct {
		key, value string
		want       contract.CompressionResult
	}{
		"the bare URL":                   {video, cloudURL, contract.CompressionResult{VideoID: video, URL: cloudURL}},
		"white space around it":          {video, " \t" + cloudURL + "\r\n", contract.CompressionResult{VideoID: video, URL: cloudURL}},
		"a JSON string":                  {video, `"https:\/\/example.org\/a"`, contract.CompressionResult{VideoID: video, URL: "https://example.org/a"}},
		"JSON":                           {video, `{"videoId": "` + video + `", "cloudUrl": "` + cloudURL + `"}`, contract.CompressionResult{VideoID: video, URL: cloudURL}},
		"JSON with white space and more": {video, ` {"size": {"w": [1]}, "cloudUrl": " ` + cloudURL + ` "} `, contract.CompressionResult{VideoID: video, URL: cloudURL}},
		"a key in capitals":              {strings.ToUpper(video), cloudURL, contract.CompressionResult{VideoID: video, URL: cloudURL}},
		"the same id in capitals": {
			video, `{"videoId":"` + strings.ToUpper(video) + `","cloudUrl":"` + cloudURL + `"}`,
			contract.CompressionResult{VideoID: video, URL: cloudURL},
		},
		"another id than the key's, which wins": {
			video, `{"videoId":"` + other + `","cloudUrl":"` + cloudURL + `"}`,
			contract.CompressionResult{VideoID: video, URL: cloudURL, ValueID: other},
		},
		"an id that is none, beside a key": {
			video, `{"videoId":"../x","cloudUrl":"` + cloudURL + `"}`,
			contract.CompressionResult{VideoID: video, URL: cloudURL, ValueID: "../x"},
		},
		"an id of another type, beside a key": {
			video, `{"videoId":[7],"cloudUrl":"` + cloudURL + `"}`, contract.CompressionResult{VideoID: video, URL: cloudURL},
		},
		"the id only in the value": {
			"", `{"videoId":"` + strings.ToUpper(video) + `","cloudUrl":"` + cloudURL + `"}`,
			contract.CompressionResult{VideoID: video, URL: cloudURL},
		},
		"http, a port and letters beyond ASCII": {
			video, "HTTP://localhost:9000/видео.mp4", contract.CompressionResult{VideoID: video, URL: "HTTP://localhost:9000/видео.mp4"},
		},
		"the longest URL": {video, long, contract.CompressionResult{VideoID: video, URL: long}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := contract.DecodeCompression([]byte(tt.key), []byte(tt.value))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeCompression_refuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		key, value string
		class      string
		reason     string
	}{
		"a tombstone":                   {key: video, class: contract.ClassNoValue},
		"white space":                   {key: video, value: "\n", class: contract.ClassNoValue},
		"no key":                        {value: cloudURL, class: contract.ClassNoKey},
		"no key, no id":                 {value: `{"cloudUrl":"` + cloudURL + `"}`, class: contract.ClassNoKey},
		"no key, an id of another type": {value: `{"videoId":7,"cloudUrl":"` + cloudURL + `"}`, class: contract.ClassNoKey},
		"no key, an id that is none":    {value: `{"videoId":"7","cloudUrl":"` + cloudURL + `"}`, class: contract.ClassVideoID, reason: "videoId"},
		"a key that is no UUID": {
			key: "7", value: `{"videoId":"` + video + `","cloudUrl":"` + cloudURL + `"}`, class: contract.ClassVideoID, reason: "key",
		},
		"half a message":         {key: video, value: `{"cloudUrl":"https:`, class: contract.ClassJSON},
		"half a string":          {key: video, value: `"https://a`, class: contract.ClassJSON},
		"bytes after a string":   {key: video, value: `"https://a.example" x`, class: contract.ClassJSON},
		"bytes after an object":  {key: video, value: `{"cloudUrl":"https://a.example"} x`, class: contract.ClassJSON},
		"a member twice":         {key: video, value: `{"cloudUrl":"https://a.example","cloudUrl":"https://b.example"}`, class: contract.ClassJSON},
		"no URL":                 {key: video, value: `{"videoId":"` + video + `"}`, class: contract.ClassSchema},
		"a URL that is null":     {key: video, value: `{"cloudUrl":null}`, class: contract.ClassSchema},
		"nested a thousand deep": {key: video, value: `{"x":` + nest(1000) + `,"cloudUrl":"https://a.example"}`, class: contract.ClassBounds},
		"a URL too long":         {key: video, value: "https://example.org/" + strings.Repeat("a", contract.MaxURLBytes), class: contract.ClassBounds},
		"an array":               {key: video, value: `["https://a.example"]`, class: contract.ClassURL},
		"null":                   {key: video, value: `null`, class: contract.ClassURL},
		"an empty string":        {key: video, value: `""`, class: contract.ClassURL},
		"a path":                 {key: video, value: "/videos/a.mp4", class: contract.ClassURL},
		"another scheme":         {key: video, value: "s3://bucket/a.mp4", class: contract.ClassURL},
		"javascript":             {key: video, value: "javascript:alert(1)", class: contract.ClassURL},
		"no host":                {key: video, value: "https:///a.mp4", class: contract.ClassURL},
		"a port and no host":     {key: video, value: "https://:443/a.mp4", class: contract.ClassURL},
		"two URLs":               {key: video, value: "https://a.example/a https://b.example/b", class: contract.ClassURL},
		"two lines":              {key: video, value: `"https://a.example/a\nb"`, class: contract.ClassURL},
		"a NUL":                  {key: video, value: `"https://a.example/\u0000"`, class: contract.ClassURL},
		"bad UTF-8":              {key: video, value: "https://a.example/\xff", class: contract.ClassURL},
		"a bad escape":           {key: video, value: "https://a.example/%zz", class: contract.ClassURL},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := contract.DecodeCompression([]byte(tt.key), []byte(tt.value))
			checkPoison(t, err, tt.class, tt.reason)
		})
	}
}

func FuzzDecodeCompression(f *testing.F) {
	f.Fuzz(func(t *testing.T, key, value []byte) {
		result, err := contract.DecodeCompression(key, value)
		if err != nil {
			checkPoison(t, err, "", "")
			return
		}
		again, err := contract.DecodeCompression([]byte(result.VideoID), []byte(result.URL))
		if err != nil {
			t.Fatalf("what was accepted is refused: %v", err)
		}
		again.ValueID = result.ValueID
		if diff := cmp.Diff(result, again); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}
